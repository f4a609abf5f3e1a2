"""Flags of the stages that run as several processes, and a look before the leap."""

import os
import pathlib

import jax
from absl import flags
from ml_collections import config_flags

from mlgcn_jax.data import config_dict
from mlgcn_jax.runs import cluster, cluster_detection
from mlgcn_jax.training import config_ranges

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
DRY_RUN = flags.DEFINE_boolean(
    "dry_run", False, "Say where this runs and what would be done, and do nothing."
)


def detect() -> cluster.Cluster:
    """Returns where this process runs.

    Raises:
        ValueError: flags or environment are incomplete or contradict themselves.
    """
    return cluster_detection.detect(
        os.environ,
        coordinator=_COORDINATOR.value,
        num_processes=_NUM_PROCESSES.value,
        process_id=_PROCESS_ID.value,
    )


def describe_job(
    found: cluster.Cluster, config: config_dict.ConfigDict, workdir: pathlib.Path
) -> str:
    """Returns what a dry run shows; the other processes are not asked.

    Raises:
        ValueError: the run would refuse the config.
    """
    config_ranges.check(config)
    lines = {
        "cluster": f"{found.kind} ({found.found})",
        "coordinator": found.coordinator_address or "-",
        "process": f"{found.process_id} of {found.num_processes}, counted from 0",
        "config": config_flags.get_config_filename(flags.FLAGS["config"]),
        "workdir": str(workdir),
        "batch": f"{config.batch_size} images a step",
    }
    if found.kind == "tpu":
        # The chips of a slice answer only when all of its hosts ask.
        lines["devices"] = "the TPU chips of this host"
        if found.num_processes is None:
            lines["process"] = "as the metadata says"
    else:
        here, everywhere = _count_devices(found)
        lines["devices"] = f"{here}; {everywhere} in all if each process has as many"
        size, rest = divmod(config.batch_size, everywhere)
        if rest:
            raise ValueError(
                f"batch_size={config.batch_size} cannot be shared out evenly to "
                f"{everywhere} devices; use a multiple of {everywhere}"
            )
        lines["batch"] += f", {size} a device"
    return "\n".join(f"{name:12} {text}" for name, text in lines.items())


def _count_devices(found: cluster.Cluster) -> tuple[str, int]:
    """Returns the devices of this process for people, and the number of all."""
    assert found.num_processes is not None
    chosen = ""
    if found.local_device_ids is not None:
        numbers = ",".join(map(str, found.local_device_ids))
        jax.config.update("jax_cuda_visible_devices", numbers)
        chosen = f", {numbers} of those visible"
    count = jax.local_device_count()
    here = f"{count} {jax.default_backend()} device(s) here{chosen}"
    return here, count * found.num_processes
