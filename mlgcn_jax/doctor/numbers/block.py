"""A building block: what a device computes, and what NumPy says of the same numbers."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import numpy as np
import numpy.typing as npt
from jax.sharding import AbstractMesh, Mesh, PartitionSpec

from mlgcn_jax.devices import compiler
from mlgcn_jax.models import mesh_axes
from mlgcn_jax.runs import mesh as meshes

Rounding = Literal["exact", "float32", "function", "product", "bfloat16"]

# Largest error, as a share of the largest entry. Sums are of some hundred numbers. GPUs
# round the factors of float32 products to 11 bits (TF32) by default, TPUs to 8; both
# have short forms of roots and logarithms.
_TOLERANCES: dict[Rounding, dict[str, float]] = {
    "exact": {"cpu": 0.0, "gpu": 0.0, "tpu": 0.0},
    "float32": {"cpu": 1e-5, "gpu": 1e-5, "tpu": 1e-5},
    "function": {"cpu": 1e-5, "gpu": 1e-4, "tpu": 1e-3},
    "product": {"cpu": 1e-5, "gpu": 2e-3, "tpu": 2e-2},
    "bfloat16": {"cpu": 6e-2, "gpu": 6e-2, "tpu": 6e-2},
}
# A bfloat16 result is 2^-9 off at best; what is beyond this was also summed up in
# bfloat16, as XLA of jaxlib 0.12 does on CPUs with some products.
BFLOAT16_SUMS = 1e-2


@dataclasses.dataclass(frozen=True)
class Block:
    """What a device computes, and what it should.

    Attributes:
        name: For people.
        function: Of arrays, to a pytree of arrays.
        arguments: NumPy arrays, or pytrees of them.
        expected: A pytree as the function returns it: NumPy's answer in float64.
        rounding: What the device may round.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    expected: Any
    rounding: Rounding

    def tolerance(self, platform: str) -> float:
        """Returns how far off a device of a platform may be; see `relative_error`."""
        return _TOLERANCES[self.rounding][platform]


def program(blocks: Sequence[Block], mesh: Mesh) -> Callable[..., Any]:
    """Returns what computes the blocks, compiled once, on each device for itself.

    It takes the arguments of every block and returns the results of every block, each
    array with the devices of the mesh as a new first axis.
    """
    functions = tuple(block.function for block in blocks)

    def on_one_device(arguments):
        # Nothing is split here, and layers that lay arrays out must not try.
        with jax.sharding.use_abstract_mesh(AbstractMesh((), ())):
            results = tuple(f(*a) for f, a in zip(functions, arguments, strict=True))
        return jax.tree.map(lambda x: x[None], results)

    return compiler.jit(
        jax.shard_map(
            on_one_device,
            mesh=mesh,
            in_specs=PartitionSpec(),
            out_specs=PartitionSpec((mesh_axes.DATA_AXIS, mesh_axes.LABEL_AXIS)),
            check_vma=False,
        )
    )


def arguments_of(blocks: Sequence[Block], mesh: Mesh) -> Any:
    """Returns what `program` takes, on every device of the mesh."""
    arguments = tuple(block.arguments for block in blocks)
    return jax.device_put(arguments, meshes.replicated(mesh))


def errors(block: Block, found: Any) -> list[float]:
    """Returns the relative error of each device: the largest of the block's arrays.

    Args:
        block: What was computed.
        found: The block's results, devices first.
    """
    leaves = jax.tree.leaves(jax.device_get(found))
    expected = jax.tree.leaves(block.expected)
    return [
        max(relative_error(f[i], e) for f, e in zip(leaves, expected, strict=True))
        for i in range(len(leaves[0]))
    ]


def relative_error(found: npt.ArrayLike, expected: npt.ArrayLike) -> float:
    """Returns the largest distance as a share of the largest expected entry.

    Infinite where something else than a finite number was found.
    """
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if found.shape != expected.shape or not np.isfinite(found).all():
        return float("inf")
    largest = float(np.max(np.abs(expected), initial=0.0)) or 1.0
    return float(np.max(np.abs(found - expected), initial=0.0)) / largest
