"""The place of this process among those of its job, and how they join.

Several processes become one program on all their devices: `join` comes before anything
else asks JAX for devices.
"""

import dataclasses
import os
import socket
import threading
from concurrent import futures
from typing import Literal

import jax
from absl import logging

from mlgcn_jax.data import error_text

# A process that does not answer for so long is taken for dead, and the others end.
HEARTBEAT_TIMEOUT_S = 20
# The others may still be pulling an image or setting up an environment.
INITIALIZATION_TIMEOUT_S = 300
# At the end the others wait for the first, which writes what is common to all.
SHUTDOWN_TIMEOUT_S = 300

Kind = Literal["single", "explicit", "slurm", "openmpi", "kubernetes", "tpu"]


class JoinError(ValueError):
    """The processes of a job do not find each other."""


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
        JoinError: they do not find each other; the process should then end.
    """
    if cluster.is_single:
        return
    logging.info("%s", describe(cluster))
    if cluster.coordinator_address is not None:
        host, _, port = cluster.coordinator_address.rpartition(":")
        _avoid_proxies(host.strip("[]"))
        if cluster.process_id == 0:
            _check_port_is_free(int(port))
    try:
        _initializing(cluster).result(timeout=INITIALIZATION_TIMEOUT_S)
        return
    except TimeoutError:
        reason = f"not all were there after {INITIALIZATION_TIMEOUT_S} s"
    except (RuntimeError, ValueError, OSError) as error:
        reason = error_text.first_line(error)
    raise JoinError(
        f"{describe(cluster)}: the processes did not find each other ({reason}); all "
        "must start within that time and reach that port of process 0; where they "
        "cannot, set JAX_COORDINATOR_ADDRESS=HOST:PORT, the same for all"
    )


def _initializing(cluster: Cluster) -> futures.Future[None]:
    """Starts the connection in a thread.

    In this one no signal would come through before the others are there, and the end of
    JAX's own patience is the end of the process.
    """
    connected: futures.Future[None] = futures.Future()

    def initialize() -> None:
        try:
            jax.distributed.initialize(
                cluster.coordinator_address,
                cluster.num_processes,
                cluster.process_id,
                cluster.local_device_ids,
                cluster_detection_method=(
                    "gcetpu" if cluster.coordinator_address is None else "deactivate"
                ),
                initialization_timeout=2 * INITIALIZATION_TIMEOUT_S,
                heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT_S,
                shutdown_timeout_seconds=SHUTDOWN_TIMEOUT_S,
            )
        except BaseException as error:
            connected.set_exception(error)
        else:
            connected.set_result(None)

    threading.Thread(target=initialize, daemon=True).start()
    return connected


def _avoid_proxies(host: str) -> None:
    """Keeps the connection to the coordinator off the proxies of the environment."""
    name = "no_grpc_proxy"
    exceptions = os.environ.get(name) or os.environ.get("no_proxy")
    os.environ[name] = f"{host},{exceptions}" if exceptions else host
    jax.config.update("jax_check_proxy_envs", False)  # it warns of what is done here


def _check_port_is_free(port: int) -> None:
    """Raises JoinError where somebody listens; JAX would share the port or crash."""
    is_dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if is_dual else socket.AF_INET
    try:
        socket.create_server(("", port), family=family, dualstack_ipv6=is_dual).close()
    except OSError as error:
        raise JoinError(
            f"port {port}, at which process 0 should await the others, cannot be had "
            f"({os.strerror(error.errno or 0)}); set JAX_COORDINATOR_ADDRESS=HOST:PORT "
            "for another one, the same for all"
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
