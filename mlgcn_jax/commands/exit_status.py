"""Exit statuses that launchers rely on, and the check of a command's arguments."""

import signal

from absl import app

FAILURE = 1
WRONG_CALL = 2
PREEMPTED = 75  # EX_TEMPFAIL, by SIGTERM: start the same command again
INTERRUPTED = 128 + signal.SIGINT


def of_signal(number: int | None) -> int:
    """Returns the exit status of a run that a signal stopped; 0 where none did."""
    return {None: 0, signal.SIGTERM: PREEMPTED, signal.SIGINT: INTERRUPTED}[number]


def check_no_arguments(argv: list[str]) -> None:
    """Raises UsageError where words are left that no flag has taken."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}")
