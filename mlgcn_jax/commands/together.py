"""Runs what several processes do together, so that none waits for one that failed.

A process that ends as usual waits at its end for all others. One that failed must not:
they may be waiting for it in the middle of a step.
"""

import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator

import jax
from absl import logging

from mlgcn_jax.commands import cluster_flags, exit_status
from mlgcn_jax.runs import cluster, processes

_FAILURE = 1
_LOSS = re.compile(
    "Gloo|NCCL|UNAVAILABLE|DEADLINE_EXCEEDED|coordination service|barrier|"
    "[Cc]onnection (?:reset|closed|refused)"
)


def run(main: Callable[[], int]) -> int:
    """Joins the other processes, if there are any, and returns the status of `main`.

    Where that fails among others this process ends at once, with status 75 if another
    one is gone or did not come: they have to be started again. A single process just
    raises. Of what they log alike the first one's is shown.
    """
    place = cluster_flags.detect()
    if place.is_single:
        return main()
    try:
        cluster.join(place)
        if not processes.is_first():
            logging.set_verbosity(logging.WARNING)
        status = main()
    except BaseException as error:
        name = f"mlgcn: {cluster.describe(place)}"
        if isinstance(error, SystemExit):
            status = error.code if isinstance(error.code, int) else _FAILURE
        elif isinstance(error, cluster.JoinError):
            status = exit_status.PREEMPTED
            _say(f"mlgcn: error: {error}")
        elif any(map(_tells_of_a_loss, _causes(error))):
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


def _tells_of_a_loss(error: BaseException) -> bool:
    """Whether this is how JAX's runtime reports a process that is gone.

    What reaches us through orbax or NumPy has its text, but not always its type.
    """
    is_runtime_error = isinstance(error, jax.errors.JaxRuntimeError)
    return is_runtime_error or _LOSS.search(str(error)) is not None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
