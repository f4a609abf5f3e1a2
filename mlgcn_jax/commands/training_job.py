"""The job that `train` and `launch` are: flags, and one or several processes.

A process that ends as usual waits at its end for all others. One that failed must not:
they may be waiting for it in the middle of a step.
"""

import os
import pathlib
import re
import sys
import traceback
from collections.abc import Callable, Iterator

import jax
from absl import flags, logging
from ml_collections import config_flags

from mlgcn_jax.commands import cluster_flags, exit_status, restarts, step_range
from mlgcn_jax.data import config_dict
from mlgcn_jax.runs import cluster, jax_settings, processes
from mlgcn_jax.training import memory, train

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
flags.mark_flag_as_required("config")
flags.adopt_module_key_flags(cluster_flags)
flags.adopt_module_key_flags(restarts)
flags.adopt_module_key_flags(step_range)

_LOSS = re.compile(
    "Gloo|NCCL|UNAVAILABLE|DEADLINE_EXCEEDED|coordination service|barrier|"
    "[Cc]onnection (?:reset|closed|refused)"
)


def run(
    *,
    before: Callable[[config_dict.ConfigDict, pathlib.Path], None] | None = None,
    after: Callable[[config_dict.ConfigDict, pathlib.Path], None] | None = None,
) -> int:
    """Trains as the flags say; returns the exit status.

    Args:
        before: called with config and workdir in every process, before the run is
            opened.
        after: called with config and workdir in the first process, when the run is
            done and the others are gone.
    """
    if restarts.MAX_RESTARTS.value:
        return restarts.supervise()
    config = _CONFIG.value
    workdir = pathlib.Path(_WORKDIR.value).expanduser()
    place = cluster_flags.detect()
    if cluster_flags.DRY_RUN.value:
        print(cluster_flags.describe_job(place, config, workdir))
        return 0

    @jax_settings.usable()
    def train_run() -> int:
        if before is not None:
            before(config, workdir)
        interrupted = train.train_and_evaluate(
            config, workdir, profile_steps=step_range.PROFILE_STEPS.value
        )
        return exit_status.of_signal(interrupted)

    status = train_run() if place.is_single else _run_together(place, train_run)
    if status == 0 and after is not None and processes.is_first():
        if processes.count() > 1:
            # JAX still counts those that are gone now: a new process does the rest.
            os.execv(sys.executable, restarts.command("--num_processes=1"))
        after(config, workdir)
    return status


def _run_together(place: cluster.Cluster, main: Callable[[], int]) -> int:
    """Joins the other processes and returns the status of `main`.

    Where that fails this process ends at once. Of what they log alike the first one's
    is shown.
    """
    try:
        cluster.join(place)
        if not processes.is_first():
            logging.set_verbosity(logging.WARNING)
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
            f"({str(error).splitlines()[0]}); start all of them again, they go on "
            "from the last checkpoint",
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
