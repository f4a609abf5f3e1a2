"""How long sums over edges take with atomics and without, and whether bits repeat."""

import time
from collections.abc import Callable, Iterator

import jax
import numpy as np

from mlgcn_jax.doctor import findings, step
from mlgcn_jax.doctor.numbers import block, edges
from mlgcn_jax.runs import mesh as meshes

PART = "speed"
_NUM_LABELS, _NUM_FEATURES = 2000, 128
_REPEATS = 3
_TIMES_SLOWER = 20
_SLOW = (
    "on this release scatters are compare-and-swap loops (jax 38806); the sums of the "
    "head are made without them, a head of your own may have them"
)
_OURS_ARE_SLOW = (
    "sums over edges decide how long a step takes here: take another release of JAX, "
    "or fewer edges (a larger config.graph.gamma)"
)


def check() -> Iterator[findings.Finding]:
    """Yields seconds of both forms, with the gradient, for 2,000 labels."""
    form = edges.sums(num_labels=_NUM_LABELS, num_features=_NUM_FEATURES)
    scatter = block.Block(
        "scatter-add", edges.scatter_add, form.arguments, form.expected, form.rounding
    )
    mesh = meshes.create_local_mesh()
    seconds = {}
    for one in (form, scatter):
        program, arguments = block.program([one], mesh), block.arguments_of([one], mesh)
        first, _ = _timed(program, arguments)  # compiles
        results, times = zip(
            *(_timed(program, arguments) for _ in range(_REPEATS)), strict=True
        )
        seconds[one.name] = min(times)
        yield step.same_bits(
            f"{one.name}, {_NUM_LABELS:,} labels, twice", first, results[0]
        )
    ours, by_scatter = seconds[form.name], seconds[scatter.name]
    yield _finding(form.name, ours, ours > _TIMES_SLOWER * by_scatter, _OURS_ARE_SLOW)
    yield _finding(scatter.name, by_scatter, by_scatter > _TIMES_SLOWER * ours, _SLOW)


def _timed(program: Callable, arguments: tuple) -> tuple[np.ndarray, float]:
    start = time.perf_counter()
    found = jax.block_until_ready(program(arguments))
    seconds = time.perf_counter() - start
    return jax.device_get(found), seconds


def _finding(name: str, seconds: float, is_slow: bool, advice: str) -> findings.Finding:
    return findings.Finding(
        PART,
        f"{name}, seconds for {_NUM_LABELS:,} labels",
        seconds,
        status="warning" if is_slow else "ok",
        advice=advice if is_slow else "",
    )
