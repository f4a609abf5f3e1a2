"""A look before the leap: where a training would run, and with what."""

import pathlib

import jax
from absl import flags
from ml_collections import config_flags

from mlgcn_jax.data import config_dict
from mlgcn_jax.runs import cluster
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.schema import configs

DRY_RUN = flags.DEFINE_boolean(
    "dry_run", False, "Say where this runs and what would be done, and do nothing."
)


def describe_job(
    found: cluster.Cluster, config: config_dict.ConfigDict, workdir: pathlib.Path
) -> str:
    """Returns what a dry run shows; the other processes are not asked.

    Raises:
        ValueError: the run would refuse the config.
    """
    configs.check(config)
    if found.kind == "tpu":
        # The chips of a slice answer only when all of its hosts ask.
        devices, share = "the TPU chips of this host", ""
    else:
        devices, total = _count_devices(found)
        meshes.check_batch_size(
            config.batch_size, total, accumulation_steps=config.accumulation_steps
        )
        share = f", {config.batch_size // total} a device"
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
