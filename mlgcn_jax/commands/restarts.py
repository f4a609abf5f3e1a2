"""Starts a stage again when it ends in a way that asks for it."""

import signal
import subprocess
import sys
import time
import types

from absl import flags, logging

from mlgcn_jax.commands import exit_status

_LONGEST_PAUSE_S = 30.0

MAX_RESTARTS = flags.DEFINE_integer(
    "max_restarts",
    0,
    "How often to start again, in a new process, after a lost or stuck process.",
    lower_bound=0,
)


def supervise() -> int:
    """Runs this command line in a process of its own, and again when that is lost.

    That is when it ends with status 75 though nobody asked this process to stop, or by
    a signal, as a process does that ran out of memory. Every process of a run needs
    such a parent, for all of them have to start again.

    Returns:
        The exit status of the last process.
    """
    restart = 0
    while True:
        status, was_asked = _run(command(f"--{MAX_RESTARTS.name}=0"))
        if was_asked or not _is_lost(status) or restart == MAX_RESTARTS.value:
            break
        # Longer and longer: the others may not have noticed yet.
        pause_s = min(2.0**restart, _LONGEST_PAUSE_S)
        restart += 1
        logging.warning(
            "the process ended with status %d; restart %d of %d in %.0f s",
            status,
            restart,
            MAX_RESTARTS.value,
            pause_s,
        )
        time.sleep(pause_s)
    return status if status >= 0 else 128 - status  # as a shell tells of a signal


def command(*arguments: str) -> list[str]:
    """Returns this command line with more arguments, for another process.

    Of a flag that is given twice the last counts.
    """
    stage = sys.argv[0].split()[1]  # `mlgcn STAGE`, see cli.py
    module = (sys.executable, "-m", "mlgcn_jax.cli")
    return [*module, stage, *sys.argv[1:], *arguments]


def _is_lost(status: int) -> bool:
    return status == exit_status.PREEMPTED or status < 0


def _run(arguments: list[str]) -> tuple[int, bool]:
    """Returns the status of a process, and whether this one was asked to stop."""
    asked = []
    with subprocess.Popen(arguments) as process:

        def pass_on(number: int, frame: types.FrameType | None) -> None:
            del frame
            asked.append(number)
            if number == signal.SIGTERM:  # a terminal sends Ctrl-C to both by itself
                process.send_signal(number)

        before = [
            signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)
        ]
        try:
            return process.wait(), bool(asked)
        finally:
            for number, handler in zip(
                (signal.SIGTERM, signal.SIGINT), before, strict=True
            ):
                signal.signal(number, handler)
