"""Devices to compile for that are not there."""

import importlib.util
import os
from collections.abc import Sequence
from typing import Any

from jax.experimental import topologies
from jax.sharding import Mesh

from mlgcn_jax.data import error_text
from mlgcn_jax.planning import chips
from mlgcn_jax.runs import mesh as meshes

# What XLA asks of a GPU: numbers of the data sheet and of CUDA's device properties.
_HOPPER = """
    cuda_compute_capability {{ major: 9 minor: 0 }}
    core_count: 132
    fpus_per_core: 128
    clock_rate_ghz: 1.98
    memory_bandwidth: {hbm_bytes_per_s:.0f}
    device_memory_size: {hbm_bytes}
    l2_cache_size: 52428800
    shared_memory_per_core: 233472
    shared_memory_per_block_optin: 232448
"""
GPU_PROPERTIES = {
    "a100": """
        cuda_compute_capability {{ major: 8 minor: 0 }}
        core_count: 108
        fpus_per_core: 64
        clock_rate_ghz: 1.41
        memory_bandwidth: {hbm_bytes_per_s:.0f}
        device_memory_size: {hbm_bytes}
        l2_cache_size: 41943040
        shared_memory_per_core: 167936
        shared_memory_per_block_optin: 166912
    """,
    "h100": _HOPPER,
    "h200": _HOPPER,
}
_GPU_TARGET = """
    platform_name: "CUDA"
    device_description_str: "{name}"
    runtime_version {{ major: 12 minor: 9 }}
    dnn_version_info {{ major: 9 minor: 10 }}
    gpu_device_info {{
        {of_card}
        threads_per_block_limit: 1024
        threads_per_warp: 32
        threads_per_core_limit: 2048
        shared_memory_per_block: 49152
        registers_per_core_limit: 65536
        registers_per_block_limit: 65536
        block_dim_limit_x: 2147483647
        block_dim_limit_y: 65535
        block_dim_limit_z: 65535
    }}
"""


def create_mesh(topology: chips.Topology, *, label_shards: int) -> Mesh:
    """Returns a mesh of such devices, as `runs.mesh` makes one of those at hand.

    Raises:
        ValueError: the compiler for them is not installed, or refuses the topology;
            `label_shards` does not divide the devices.
    """
    make = {"gpu": _gpus, "tpu": _tpus}[topology.chip.platform]
    try:
        devices = make(topology)
    except RuntimeError as error:
        reason = error_text.first_line(error)
        raise ValueError(f"cannot compile for {topology}: {reason}") from error
    return meshes.arrange(devices, label_shards=label_shards)


def _tpus(topology: chips.Topology) -> Sequence[Any]:
    if importlib.util.find_spec("libtpu") is None:
        raise _not_installed(topology, "libtpu", "tpu")
    # Nothing is run on TPUs: ask nobody about them, and leave those that are there to
    # others who may hold them.
    os.environ["TPU_SKIP_MDS_QUERY"] = "1"
    os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-1")
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    # Hosts have four chips, unless one says otherwise.
    one = {"chips_per_host_bounds": (1, 1, 1)} if topology.num_chips == 1 else {}
    return topologies.get_topology_desc(
        platform="tpu", topology_name=str(topology), **one
    ).devices


def _gpus(topology: chips.Topology) -> Sequence[Any]:
    target = _GPU_TARGET.format(
        name=topology.name,
        of_card=GPU_PROPERTIES[topology.name].format(**topology.chip._asdict()),
    )
    hosts, gpus = topology.shape
    try:
        return topologies.get_topology_desc(
            platform="cuda",
            topology_name=topology.name,
            target_config=target,
            topology=f"1x{hosts}x{gpus}",
        ).devices
    except NotImplementedError as error:
        raise _not_installed(topology, "JAX's CUDA plugin", "cuda12") from error


def _not_installed(topology: chips.Topology, compiler: str, extra: str) -> ValueError:
    return ValueError(
        f"{compiler}, which compiles for {topology.name}, is not installed: pip "
        f"install 'mlgcn-jax[{extra}]' (no {topology.name} is needed)"
    )
