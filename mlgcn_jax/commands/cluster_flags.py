"""Flags of the stages that run as several processes."""

import os

from absl import app, flags

from mlgcn_jax.runs import cluster, cluster_detection

_COORDINATOR = flags.DEFINE_string(
    "coordinator",
    None,
    "HOST:PORT at which process 0 awaits the others. With --num_processes and "
    "--process_id, where no launcher tells these.",
)
_NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes",
    None,
    "How many processes run this command; 1 is alone whatever started it.",
    lower_bound=1,
)
_PROCESS_ID = flags.DEFINE_integer(
    "process_id", None, "Which of them this is, from 0.", lower_bound=0
)


def detect() -> cluster.Cluster:
    """Returns where this process runs.

    Raises:
        UsageError: the flags are incomplete or contradict each other.
        ValueError: the environment does.
    """
    try:
        return cluster_detection.detect(
            os.environ,
            coordinator=_COORDINATOR.value,
            num_processes=_NUM_PROCESSES.value,
            process_id=_PROCESS_ID.value,
        )
    except ValueError as error:
        if any(flag.present for flag in (_COORDINATOR, _NUM_PROCESSES, _PROCESS_ID)):
            raise app.UsageError(str(error)) from error
        raise
