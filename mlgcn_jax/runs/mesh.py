"""Devices and how arrays lie on them: one code path from a laptop up."""

from typing import TypeVar

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

T = TypeVar("T")

DATA_AXIS = "data"


def create_mesh() -> Mesh:
    """Returns a one-dimensional mesh of all devices; batches are split along it."""
    return jax.make_mesh(
        (jax.device_count(),), (DATA_AXIS,), axis_types=(AxisType.Auto,)
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of what every device holds whole: state, label graph."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharded(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of a batch: its first axis split over the devices."""
    return NamedSharding(mesh, PartitionSpec(DATA_AXIS))


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
