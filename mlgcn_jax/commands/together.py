"""Runs what several processes do together, so that none waits for one that failed.

A process that ends as usual waits at its end for all others. One that failed must not:
they may be waiting for it in the middle of a step.
"""

import os
import sys
import traceback
from collections.abc import Callable, Iterator

import jax

from mlgcn_jax.commands import exit_status
from mlgcn_jax.runs import processes

_FAILURE = 1


def run(main: Callable[[], int]) -> int:
    """Returns the exit status of `main`; where that fails among others, ends at once.

    With status 75 where it failed because another process is gone: they have to be
    started again. A single process just raises.
    """
    if processes.count() == 1:
        return main()
    try:
        status = main()
    except BaseException as error:
        name = f"mlgcn: process {processes.index()} of {processes.count()}"
        if isinstance(error, SystemExit):
            status = error.code if isinstance(error.code, int) else _FAILURE
        elif any(isinstance(e, jax.errors.JaxRuntimeError) for e in _causes(error)):
            status = exit_status.PREEMPTED
            _say(
                f"{name}: another process is gone, or cannot be reached "
                f"({str(error).splitlines()[0]}); start all of them again, they go on "
                "from the last checkpoint"
            )
        elif isinstance(error, (ValueError, OSError)):
            status = _FAILURE
            _say(f"{name}: error: {error}")
        else:
            status = _FAILURE
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    jax.distributed.shutdown()
    return status


def _say(message: str) -> None:
    print(message, file=sys.stderr)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
