"""How XLA compiles every program of ours: `jit` in the place of `jax.jit`.

Options go with each program and not through the environment, so that they hold where
JAX was at work before us, and leave the programs of others alone. A foreign head that
becomes part of our step is compiled as the step is.

What the user's XLA_FLAGS set is respected: our option then stays away, and that is
said (see `xla_flags`).
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
from absl import logging

from mlgcn_jax.devices import xla_flags

Option = bool | int | str

YNN_FUSIONS = "xla_cpu_experimental_ynn_fusion_type"

# XLA for CPUs hands products and reductions to YNNPACK. What it computes of a product
# that is reduced at once is garbage in jaxlib 0.10.2, 0.11.2 and 0.12.0 (memory that
# nobody wrote: 1e37, NaN, or merely 0.9 off), and sums over seven dimensions crash in
# 0.10.2: tests/test_compiler.py has the forms. So reductions stay with XLA; products
# and convolutions alone are what is left of the default, which XLA_FLAGS calls
# "-reduce" (an option of one program has to name them). 0.10.1 is right either way; one
# rule holds for all releases. What it costs is in docs/performance.md, up to a seventh
# of a train step: right comes first.
_WITHOUT_REDUCTIONS = (
    "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION"
)
_ON_CPU: dict[str, Option] = {
    YNN_FUSIONS: _WITHOUT_REDUCTIONS,
    # A third to a half less time to compile; steps are no slower (docs/performance.md).
    "xla_cpu_opt_preset": "CPU_OPT_PRESET_FAST_COMPILE",
    "xla_cpu_prefer_vector_width": 512,  # what AVX-512 has; others are not asked for it
}


def options(
    on_cpu: Mapping[str, Option] | None = None, *, platform: str | None = None
) -> dict[str, Option]:
    """Returns what XLA is told when it compiles.

    Args:
        on_cpu: for CPUs, more than what is told by default, or in the place of it.
        platform: JAX's name for what it compiles for; None: where it computes here.
    """
    if (platform or jax.default_backend()) != "cpu":
        return {}
    chosen = _ON_CPU | dict(on_cpu or {})
    return {name: chosen[name] for name in chosen if not _is_set_by_user(name)}


def jit(
    function: Callable,
    *,
    on_cpu: Mapping[str, Option] | None = None,
    platform: str | None = None,
    **arguments: Any,
) -> Any:
    """Returns `jax.jit(function, **arguments)`, compiled with `options`.

    It is the outermost: JAX refuses a program with options inside of another.
    """
    chosen = options(on_cpu, platform=platform)
    return jax.jit(function, compiler_options=chosen, **arguments)


@functools.cache  # said once
def _is_set_by_user(name: str) -> bool:
    value = xla_flags.of_user().get(name)
    if value is None:
        return False
    if name == YNN_FUSIONS and xla_flags.asks_for_reductions(value):
        logging.warning(
            "XLA_FLAGS ask for YNNPACK's reduce fusions (%s=%s), with which XLA "
            "computes some products wrong on CPUs; they are respected. Take that flag "
            "away, or see `mlgcn doctor`",
            name,
            value,
        )
    else:
        logging.info("XLA_FLAGS set %s=%s: it stays so", name, value)
    return True
