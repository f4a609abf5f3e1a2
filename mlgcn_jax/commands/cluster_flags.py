"""Flags of the stages that run as several processes, and a look before the leap."""

import os
import pathlib

import jax
from absl import app, flags
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


def describe_job(
    found: cluster.Cluster, config: config_dict.ConfigDict, workdir: pathlib.Path
) -> str:
    """Returns what a dry run shows; the other processes are not asked.

    Raises:
        ValueError: the run would refuse the config.
    """
    config_ranges.check(config)
    if found.kind == "tpu":
        # The chips of a slice answer only when all of its hosts ask.
        devices, share = "the TPU chips of this host", ""
    else:
        devices, total = _count_devices(found)
        size, rest = divmod(config.batch_size, total)
        if rest:
            raise ValueError(
                f"batch_size={config.batch_size} cannot be shared out evenly to "
                f"{total} devices; use a multiple of {total}"
            )
        share = f", {size} a device"
    process = f"{found.process_id} of {found.num_processes}, counted from 0"
    lines = {
        "cluster": f"{found.kind} ({found.found})",
        "coordinator": found.coordinator_address or "-",
        "process": "-" if found.num_processes is None else process,
        "devices": devices,
        "config": config_flags.get_config_filename(flags.FLAGS["config"]),
        "workdir": str(workdir),
        "batch": f"{config.batch_size} images a step{share}",
    }
    return "\n".join(f"{name:12} {text}" for name, text in lines.items())


def _count_devices(found: cluster.Cluster) -> tuple[str, int]:
    """Returns the devices of this process for people, and the number of all."""
    assert found.num_processes is not None
    chosen = ""
    if found.local_device_ids is not None:
        numbers = ",".join(map(str, found.local_device_ids))
        jax.config.update("jax_cuda_visible_devices", numbers)
        chosen = f" ({numbers} of those visible)"
    count = jax.local_device_count()
    total = count * found.num_processes
    here = f"{count} {jax.default_backend()} device(s){chosen}"
    return f"{here}, {total} in all where every process has as many", total
