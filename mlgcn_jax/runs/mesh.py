"""Devices and how arrays lie on them: one code path from a laptop up."""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mlgcn_jax.devices import compiler
from mlgcn_jax.graph import label_graph
from mlgcn_jax.models.mesh_axes import DATA_AXIS, LABEL_AXIS
from mlgcn_jax.runs import jax_settings, processes

T = TypeVar("T")


def create_mesh(*, label_shards: int = 1) -> Mesh:
    """Returns the grid of all devices; `label_shards` of them are a row.

    Raises:
        ValueError: there are none, or they cannot be laid out in rows of that length.
    """
    jax_settings.check_devices()
    return arrange(jax.devices(), label_shards=label_shards)


def create_local_mesh(*, label_shards: int = 1) -> Mesh:
    """Returns a grid of this process's devices, for work that it does by itself.

    Its rows are as long as its devices allow, at most `label_shards`.
    """
    devices = jax.local_devices()
    return arrange(devices, label_shards=math.gcd(label_shards, len(devices)))


def platform_of(mesh: Mesh) -> str:
    """Returns JAX's name for the kind of its devices: `cpu`, `gpu` or `tpu`."""
    return mesh.devices.flat[0].platform


def arrange(devices: Sequence[Any], *, label_shards: int) -> Mesh:
    """Returns the grid `[data, label]` of these devices.

    Process by process: the images of a batch that a process reads are then one run of
    rows, and a row of devices, which exchange the most, lies within one host where it
    fits there.

    Raises:
        ValueError: the devices cannot be laid out in rows of that length.
    """
    if label_shards < 1 or len(devices) % label_shards:
        divisors = [n for n in range(1, len(devices) + 1) if len(devices) % n == 0]
        raise ValueError(
            f"config.label_shards={label_shards} does not divide {len(devices)} "
            f"devices; use one of {', '.join(map(str, divisors))}"
        )
    ordered = sorted(devices, key=lambda device: (device.process_index, device.id))
    return Mesh(
        np.asarray(ordered).reshape(-1, label_shards),
        (DATA_AXIS, LABEL_AXIS),
        axis_types=(AxisType.Auto, AxisType.Auto),
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of what every device holds whole: the backbone, say."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharded(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of a batch: its first axis split over all devices.

    Over those of a row too: the backbone is most of the work, and what they share the
    labels for is done on the images' features, which are small.
    """
    return NamedSharding(mesh, PartitionSpec((DATA_AXIS, LABEL_AXIS)))


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


def shapes_of(tree: T) -> T:
    """Returns shapes and shardings in the place of arrays on devices."""
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), tree
    )


def take_home(tree: T, mesh: Mesh) -> T:
    """Returns arrays of all processes whole on every device of this one's mesh.

    A single process has them where it needs them. All processes take part.
    """
    if processes.count() == 1:
        return tree
    (everywhere,) = {leaf.sharding.mesh for leaf in jax.tree.leaves(tree)}
    whole = compiler.jit(_same, out_shardings=replicated(everywhere))(tree)
    here = jax.tree.map(lambda leaf: leaf.addressable_data(0), whole)
    return jax.device_put(here, replicated(mesh))


def _same(tree: T) -> T:
    return tree


def sharded_by_label(
    shapes: Callable[[int], T], mesh: Mesh, *, num_labels: int
) -> T | NamedSharding:
    """Returns the shardings of a tree of arrays; what has labels is split by them.

    The dimension of the labels is the one that grows with their number, whatever the
    array is called and whoever made it: a head's parameters, Adam's moments of these,
    their moving average.

    Args:
        shapes: number of labels -> the tree's arrays, as shapes.
        mesh: the devices.
        num_labels: l.
    """
    if mesh.shape[LABEL_AXIS] == 1:
        return replicated(mesh)

    def sharding(leaf: jax.ShapeDtypeStruct, longer: jax.ShapeDtypeStruct) -> Any:
        sizes = zip(leaf.shape, longer.shape, strict=True)
        grows = [size < larger for size, larger in sizes]
        return _split(leaf.shape, mesh, dim=grows.index(True) if any(grows) else None)

    return jax.tree.map(sharding, shapes(num_labels), shapes(num_labels + 1))


def graph_sharded(
    mesh: Mesh, *, num_labels: int, embedding_dim: int
) -> label_graph.LabelGraph:
    """Returns the shardings of a label graph: edges are whole, embeddings are split."""
    parts: Any = {
        "senders": replicated(mesh),
        "receivers": replicated(mesh),
        "edge_weights": replicated(mesh),
        "by_sender": replicated(mesh),
        "embeddings": _split((num_labels, embedding_dim), mesh, dim=0),
    }
    return label_graph.LabelGraph(**parts)


def _split(shape: tuple[int, ...], mesh: Mesh, *, dim: int | None) -> NamedSharding:
    """The sharding of an array whose dimension `dim` is that of the labels.

    What lies on devices must divide evenly. Where the labels do not (100,003 of them),
    another dimension takes their place: each device still holds its share, and a step
    exchanges shares to compute with labels. An array without such a dimension (a bias)
    is held whole.
    """
    dims = [] if dim is None else [dim, *(i for i in range(len(shape)) if i != dim)]
    for i in dims:
        if shape[i] % mesh.shape[LABEL_AXIS] == 0:
            return NamedSharding(mesh, PartitionSpec(*[None] * i, LABEL_AXIS))
    return replicated(mesh)


def check_batch_size(
    batch_size: int, num_devices: int, *, accumulation_steps: int = 1
) -> None:
    """Raises ValueError unless every device gets the same number of examples.

    In each of the micro-batches, where there are several.
    """
    multiple = num_devices * accumulation_steps
    if batch_size < 1 or batch_size % multiple:
        times = f" x {accumulation_steps} micro-batches" * (accumulation_steps > 1)
        raise ValueError(
            f"batch_size={batch_size} is not divisible by {num_devices} devices"
            f"{times}; use a multiple of {multiple}"
        )


def round_up_batch_size(batch_size: int, mesh: Mesh) -> int:
    """Returns the smallest multiple of the number of devices >= batch_size."""
    return -(-batch_size // mesh.size) * mesh.size


def with_sharding(abstract: T, shardings: T | NamedSharding) -> T:
    """Returns a tree of shapes with the shardings that its arrays shall have.

    Args:
        abstract: the shapes.
        shardings: the same tree, or one sharding for all of it.
    """
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=sharding
        ),
        abstract,
        jax.tree.broadcast(shardings, abstract),
    )
