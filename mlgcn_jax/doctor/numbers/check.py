"""Computes every building block on each device of this process."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from mlgcn_jax.doctor import findings, settings
from mlgcn_jax.doctor.numbers import (
    block,
    convolutions,
    draws,
    edges,
    gathers,
    maps,
    reduced_products,
)
from mlgcn_jax.runs import mesh as meshes

PART = "numbers"
_MODULES = (convolutions, maps, edges, gathers, reduced_products, draws)
_WRONG = (
    "this device, driver or release of JAX computes wrong: do not train on it; take a "
    "release that pyproject.toml allows, or another device"
)
_SLOPPY = "sums are kept in bfloat16 here: train with --config.model.dtype=float32"


def check() -> Iterator[findings.Finding]:
    """Yields a finding for each block, and for gathers outside of jit.

    Outside of jit the first device stands for all: what was wrong there was wrong in a
    release of JAX, and each operation is compiled for each device.
    """
    mesh = meshes.create_local_mesh()
    devices = list(mesh.devices.flat)

    def compiled(one: block.Block) -> Any:
        (found,) = block.program([one], mesh)(block.arguments_of([one], mesh))
        return found

    def as_it_is(one: block.Block) -> Any:
        found = one.function(*jax.device_put(one.arguments, devices[0]))
        return jax.tree.map(lambda x: x[None], jax.device_get(found))

    for one in [one for module in _MODULES for one in module.blocks()]:
        if one.name == reduced_products.MAY_CRASH and settings.asks_for_reductions():
            yield findings.Finding(
                PART,
                one.name,
                "not run: it may end this process",
                status="warning",
                advice=settings.WITHOUT_REDUCTIONS,
            )
        else:
            yield _try(one, compiled, devices)
    for one in gathers.blocks():
        outside = dataclasses.replace(one, name=f"{one.name}, outside of jit")
        yield _try(outside, as_it_is, devices[:1])


def _try(
    one: block.Block, compute: Callable[[block.Block], Any], devices: Sequence[Any]
) -> findings.Finding:
    try:
        return judge(one, block.errors(one, compute(one)), devices)
    except Exception as error:  # a device may die in any way: the next block is tried
        return findings.failed(PART, one.name, error, advice=_WRONG)


def judge(
    one: block.Block, errors: Sequence[float], devices: Sequence[Any]
) -> findings.Finding:
    """Returns what the relative errors of the devices say of a block."""
    allowed = one.tolerance(jax.default_backend())
    wrong = [
        str(device)
        for device, error in zip(devices, errors, strict=True)
        if error > allowed
    ]
    worst = max(errors)
    status, advice = "ok", ""
    if wrong:
        status, advice = "fault", f"wrong on {', '.join(wrong)}: {_WRONG}"
    elif one.rounding == "bfloat16" and worst > block.BFLOAT16_SUMS:
        status, advice = "warning", _SLOPPY
    return findings.Finding(
        PART,
        one.name,
        worst if np.isfinite(worst) else "not finite",
        expected=f"at most {allowed:g} off",
        status=status,
        advice=advice,
    )
