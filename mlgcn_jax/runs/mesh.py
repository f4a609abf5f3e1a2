"""Devices and how arrays lie on them: one code path from a laptop up."""

from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

T = TypeVar("T")

DATA_AXIS = "data"


def create_mesh() -> Mesh:
    """Returns a one-dimensional mesh of all devices; batches are split along it.

    Devices lie in the order of their processes, so that the rows of a batch that one
    process holds follow one another.
    """
    devices = sorted(
        jax.devices(), key=lambda device: (device.process_index, device.id)
    )
    return Mesh(np.array(devices), (DATA_AXIS,), axis_types=(AxisType.Auto,))


def create_local_mesh() -> Mesh:
    """Returns a mesh of this process's devices, for work that it does by itself."""
    return Mesh(
        np.array(jax.local_devices()), (DATA_AXIS,), axis_types=(AxisType.Auto,)
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of what every device holds whole: state, label graph."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharded(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of a batch: its first axis split over the devices."""
    return NamedSharding(mesh, PartitionSpec(DATA_AXIS))


def rows_of_process(batch_size: int, mesh: Mesh) -> slice:
    """Returns which rows of a batch the devices of this process hold."""
    parts = batch_sharded(mesh).addressable_devices_indices_map((batch_size,))
    ranges = [range(batch_size)[part[0]] for part in parts.values() if part]
    return slice(min(r.start for r in ranges), max(r.stop for r in ranges))


def put_batch(rows: T, batch_size: int, mesh: Mesh) -> T:
    """Returns the global batch of which every process gives its rows."""
    sharding = batch_sharded(mesh)
    with jax.transfer_guard("allow"):  # what is asked for here, and asked for only here
        return jax.tree.map(
            lambda x: jax.make_array_from_process_local_data(
                sharding, x, (batch_size, *x.shape[1:])
            ),
            rows,
        )


def put_replicated(tree: Any, mesh: Mesh) -> Any:
    """Returns a tree with its arrays whole on every device of the mesh.

    Arrays that lie on all devices of all processes are taken from this process's.
    """
    local = jax.tree.map(
        lambda x: x.addressable_data(0) if _is_of_all_processes(x) else x, tree
    )
    return jax.device_put(local, replicated(mesh))


def _is_of_all_processes(x: Any) -> bool:
    return isinstance(x, jax.Array) and not x.is_fully_addressable


def check_batch_size(batch_size: int, mesh: Mesh) -> None:
    """Raises ValueError unless every device gets the same number of examples."""
    if batch_size < 1 or batch_size % mesh.size:
        raise ValueError(
            f"batch_size={batch_size} is not divisible by {mesh.size} devices; "
            f"use a multiple of {mesh.size}"
        )


def round_up_batch_size(batch_size: int, mesh: Mesh) -> int:
    """Returns the smallest multiple of the number of devices >= batch_size."""
    return -(-batch_size // mesh.size) * mesh.size


def with_sharding(abstract: T, sharding: NamedSharding) -> T:
    """Returns a tree of shapes with the sharding that its arrays shall have."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        abstract,
    )
