"""The numbers of a few building blocks at the start of a training, in a second."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from mlgcn_jax.data import error_text
from mlgcn_jax.doctor.numbers import (
    block,
    convolutions,
    edges,
    maps,
    reduced_products,
)
from mlgcn_jax.runs import mesh as meshes


def check(mesh: Mesh) -> None:
    """Computes a convolution, statistics, sums over edges and a reduced product.

    Each with its gradient, on each device of this process, in one program.

    Raises:
        ValueError: a device computes wrong, or cannot compute; names it and what.
    """
    ours = meshes.arrange(mesh.local_devices, label_shards=1)
    blocks, program = _compiled(ours)
    try:
        found = jax.device_get(program(block.arguments_of(blocks, ours)))
    except jax.errors.JaxRuntimeError as error:
        raise ValueError(
            f"devices cannot compute ({error_text.first_line(error)}); `mlgcn doctor` "
            "says more"
        ) from error
    platform = jax.default_backend()
    wrong = [
        f"{device}: {one.name} is {error:.2g} off, expected at most "
        f"{one.tolerance(platform):g}"
        for one, results in zip(blocks, found, strict=True)
        for device, error in zip(
            ours.devices.flat, block.errors(one, results), strict=True
        )
        if error > one.tolerance(platform)
    ]
    if wrong:
        raise ValueError(
            f"devices compute wrong numbers ({'; '.join(wrong)}); nothing that is "
            "trained on them means anything: `mlgcn doctor` says more"
        )


@functools.cache
def _compiled(mesh: Mesh) -> tuple[list[block.Block], Callable[..., Any]]:
    blocks = [
        convolutions.convolution(3, 1, np.float32),
        maps.statistics(np.float32),
        edges.sums(num_labels=20, num_features=8),
        reduced_products.times_constant(),
    ]
    return blocks, block.program(blocks, mesh)
