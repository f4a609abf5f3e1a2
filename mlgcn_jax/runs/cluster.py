"""The place of this process among those of its job, and how they join.

Several processes become one program on all their devices: `join` comes before anything
else asks JAX for devices.
"""

import dataclasses
from typing import Literal

import jax
from absl import logging

# A process that does not answer for so long is taken for dead, and the others end.
HEARTBEAT_TIMEOUT_S = 20
# The others may still be pulling an image or setting up an environment.
INITIALIZATION_TIMEOUT_S = 300
# At the end the others wait for the first, which writes what is common to all.
SHUTDOWN_TIMEOUT_S = 300

Kind = Literal["single", "explicit", "slurm", "openmpi", "kubernetes", "tpu"]


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The place of this process among those of its job.

    Attributes:
        kind: What started it.
        found: What told so, for people.
        coordinator_address: HOST:PORT at which process 0 awaits the others; None for
            a single process, and where JAX asks the metadata of a Cloud TPU VM.
        num_processes: None where the metadata says it.
        process_id: From 0; None where the metadata says it.
        local_device_ids: GPUs of this process, counted from 0 among those that it
            sees; None: all of them.
    """

    kind: Kind
    found: str
    coordinator_address: str | None = None
    num_processes: int | None = 1
    process_id: int | None = 0
    local_device_ids: tuple[int, ...] | None = None

    @property
    def is_single(self) -> bool:
        """Whether there are no other processes."""
        return self.num_processes == 1


def join(cluster: Cluster) -> None:
    """Connects this process to the others; nothing to do for a single one.

    Comes before anything else asks JAX for devices. Returns once all are there.

    Raises:
        ValueError: they do not find each other.
    """
    if cluster.is_single:
        return
    logging.info("%s", describe(cluster))
    try:
        jax.distributed.initialize(
            cluster.coordinator_address,
            cluster.num_processes,
            cluster.process_id,
            cluster.local_device_ids,
            cluster_detection_method=(
                "gcetpu" if cluster.coordinator_address is None else "deactivate"
            ),
            initialization_timeout=INITIALIZATION_TIMEOUT_S,
            heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT_S,
            shutdown_timeout_seconds=SHUTDOWN_TIMEOUT_S,
        )
    except (RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{describe(cluster)}: the processes did not find each other ({reason}); "
            f"all must start within {INITIALIZATION_TIMEOUT_S} s and reach that port "
            "of process 0, which nothing else may use; for another one set "
            "JAX_COORDINATOR_ADDRESS=HOST:PORT, the same for all"
        ) from error


def describe(cluster: Cluster) -> str:
    """Returns one line for people."""
    if cluster.is_single:
        return f"one process ({cluster.found})"
    if cluster.coordinator_address is None:
        return f"a process of several ({cluster.found})"
    return (
        f"process {cluster.process_id} of {cluster.num_processes}, counted from 0, "
        f"coordinator {cluster.coordinator_address} ({cluster.found})"
    )
