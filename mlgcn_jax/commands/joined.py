"""A stage as one of several processes: joining the others, and ending with them.

A process that ends as usual waits at its end for all others. One that failed must not:
they may be waiting for it in the middle of a step.
"""

import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator

import jax

from mlgcn_jax.commands import exit_status
from mlgcn_jax.data import error_text
from mlgcn_jax.runs import cluster
from mlgcn_jax.training import memory

_LOSS = re.compile(
    "Gloo|NCCL|UNAVAILABLE|DEADLINE_EXCEEDED|coordination service|barrier|"
    "[Cc]onnection (?:reset|closed|refused)"
)


def run(place: cluster.Cluster, main: Callable[[], int]) -> int:
    """Joins the other processes and returns the status of `main`.

    Where that fails this process ends at once.
    """
    try:
        cluster.join(place)
        status = main()
    except BaseException as error:
        status = exit_status.FAILURE
        try:
            status = _report(place, error)
            sys.stdout.flush()
            sys.stderr.flush()
        finally:  # on a full disk nothing can be said either, if stderr is a file there
            os._exit(status)
    jax.distributed.shutdown()
    return status


def _report(place: cluster.Cluster, error: BaseException) -> int:
    """Says what ended this process; returns its exit status.

    That is 75 if another one is gone or did not come: all have to be started again.
    """
    name = f"mlgcn: {cluster.describe(place)}"
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else exit_status.FAILURE
    if isinstance(error, cluster.JoinError):
        print(f"mlgcn: error: {error}", file=sys.stderr)
        return exit_status.PREEMPTED
    if not isinstance(error, memory.OutOfMemoryError) and any(
        map(_tells_of_a_loss, _causes(error))
    ):
        print(
            f"{name}: another process is gone, or cannot be reached "
            f"({error_text.first_line(error)}); start all of them again; a "
            "run goes on from its last checkpoint",
            file=sys.stderr,
        )
        return exit_status.PREEMPTED
    if isinstance(error, (ValueError, OSError)):
        print(f"{name}: error: {error}", file=sys.stderr)
    else:
        traceback.print_exception(error)
    return exit_status.FAILURE


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
