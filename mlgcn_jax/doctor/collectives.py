"""Messages between all devices of all processes, against what NumPy says."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mlgcn_jax.devices import compiler
from mlgcn_jax.doctor import findings
from mlgcn_jax.doctor.numbers import block
from mlgcn_jax.models import mesh_axes
from mlgcn_jax.runs import mesh as meshes

PART = "collectives"
_AXES = (mesh_axes.DATA_AXIS, mesh_axes.LABEL_AXIS)
_TOLERANCE = 1e-5
_ADVICE = (
    "devices do not get each other's numbers: look at the network between them "
    "(NCCL_DEBUG=INFO on GPUs), or leave out the host that is wrong"
)


def check() -> Iterator[findings.Finding]:
    """Yields each kind of message, and a gradient that is accumulated in scan."""
    mesh = meshes.create_mesh()
    x = np.random.default_rng(0).standard_normal((mesh.size, mesh.size, 3), np.float32)
    wide = x.astype(np.float64)
    total = np.broadcast_to(wide.sum(0), wide.shape)
    # What each device has `[1 n 3]` -> what each gets, with what that should be.
    kinds: dict[str, tuple[Callable[[jax.Array], jax.Array], np.ndarray]] = {
        "all-reduce": (lambda x: jax.lax.psum(x, _AXES), total),
        "all-gather": (
            lambda x: jax.lax.all_gather(x, _AXES, axis=0, tiled=True)[None],
            np.broadcast_to(wide, (mesh.size, *wide.shape)),
        ),
        "reduce-scatter": (
            lambda x: jax.lax.psum_scatter(x, _AXES, scatter_dimension=1, tiled=True),
            wide.sum(0)[:, None],
        ),
        "all-to-all": (
            lambda x: jax.lax.all_to_all(
                x, _AXES, split_axis=1, concat_axis=0, tiled=True
            )[None],
            wide.swapaxes(0, 1)[:, :, None],
        ),
    }
    split = PartitionSpec(_AXES)
    for name, (send, expected) in kinds.items():
        program = compiler.jit(
            jax.shard_map(
                send, mesh=mesh, in_specs=split, out_specs=split, check_vma=False
            )
        )
        yield _try(
            name, lambda program=program: program(_place(x, mesh, split)), expected
        )
    yield _try("gradient accumulated in scan", *_accumulation(mesh))


def _try(
    name: str, compute: Callable[[], jax.Array], expected: np.ndarray
) -> findings.Finding:
    """Compares the parts that the devices of this process got."""
    try:
        found = compute()
        error = max(
            block.relative_error(np.asarray(part.data), expected[part.index])
            for part in found.addressable_shards
        )
    except Exception as failure:  # a device or process may die in any way
        return findings.failed(PART, name, failure, advice=_ADVICE)
    is_right = error <= _TOLERANCE
    return findings.Finding(
        PART,
        name,
        error if np.isfinite(error) else "not finite",
        expected=f"at most {_TOLERANCE:g} off",
        status="ok" if is_right else "fault",
        advice="" if is_right else _ADVICE,
    )


def _accumulation(mesh: Mesh) -> tuple[Callable[[], jax.Array], np.ndarray]:
    """Scatters that are added up in a loop over micro-batches (xla 49143)."""
    steps, images = 3, 2 * mesh.size
    rng = np.random.default_rng(0)
    table = rng.standard_normal((12, 4), np.float32)
    indices = rng.integers(0, 12, (steps, images, 5)).astype(np.int32)
    weights = rng.standard_normal((steps, images, 5, 4), np.float32)
    expected = np.zeros(table.shape)
    np.add.at(expected, indices, weights / images)

    def gradient(table, indices, weights):
        def loss(table, indices, weights):
            return (table[indices] * weights).sum((1, 2)).mean()

        def add(total, micro_batch):
            return total + jax.grad(loss)(table, *micro_batch), None

        total, _ = jax.lax.scan(add, jnp.zeros_like(table), (indices, weights))
        return total

    program = compiler.jit(gradient, out_shardings=meshes.replicated(mesh))
    of_batch = PartitionSpec(None, _AXES)

    def compute() -> Any:
        return program(
            _place(table, mesh, PartitionSpec()),
            _place(indices, mesh, of_batch),
            _place(weights, mesh, of_batch),
        )

    return compute, expected


def _place(x: np.ndarray, mesh: Mesh, spec: PartitionSpec) -> jax.Array:
    sharding = NamedSharding(mesh, spec)
    return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])
