"""Faults of JAX and XLA that others reported and that touch this project.

Each is silent: no error, but wrong or slow numbers. What is measured here all the same
(`numbers`, `speed`, `cache`) says whether a machine has it.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple


class KnownFault(NamedTuple):
    """A fault of a release.

    Attributes:
        package: As `versions.installed` names it.
        releases: First and last one that has it; an empty last one: still open.
        platform: `cpu`, `gpu` or `tpu`.
        wrong: What goes wrong.
        advice: What to do; empty where `cure` says what is done already.
        cure: What this project does against it; empty where it can do nothing.
        threads: Where it was reported.
        chip: Part of the device's name; empty for all.
    """

    package: str
    releases: tuple[tuple[str, str], ...]
    platform: str
    wrong: str
    threads: str
    advice: str = ""
    cure: str = ""
    chip: str = ""


_WITHOUT_REDUCTIONS = "compiled without YNNPACK's reduce fusions"
_WITHOUT_SCATTERS = "the head's sums over edges are made without scatters"

KNOWN_FAULTS = (
    KnownFault(
        "jaxlib",
        (("0.10.2", "0.10.2"), ("0.11.2", "")),
        "cpu",
        "products that are reduced at once are garbage",
        "seen here",
        cure=_WITHOUT_REDUCTIONS,
    ),
    KnownFault(
        "jaxlib",
        (("0.10.2", "0.10.2"),),
        "cpu",
        "small batched products are 0.8 % off",
        "jax 39103",
        cure=_WITHOUT_REDUCTIONS,
    ),
    KnownFault(
        "jaxlib",
        (("0.10.2", "0.11.0"),),
        "cpu",
        "sums over seven or more dimensions crash or never end",
        "jax 39257, 40412",
        cure=_WITHOUT_REDUCTIONS,
    ),
    KnownFault(
        "jaxlib",
        (("0.10.2", "0.11.1"),),
        "cpu",
        "reductions of slices take twice the time",
        "jax 37465, xla 46351",
        advice="pip install a release that pyproject.toml allows",
    ),
    KnownFault(
        "jaxlib",
        (("0.12.0", ""),),
        "cpu",
        "some bfloat16 products are summed up in bfloat16, 2 to 4 % off",
        "seen here",
        advice="on CPUs train in float32 (config.model.dtype, the default)",
    ),
    KnownFault(
        "jaxlib",
        (("0.10.2", "0.11.0"),),
        "gpu",
        "float32 scatter-adds are loops, 450 to 5,000 times slower",
        "jax 38806, xla 46225",
        advice="a head of your own that scatters: take 0.10.1, or 0.11.1 and later",
        cure=_WITHOUT_SCATTERS,
    ),
    KnownFault(
        "jaxlib",
        (("0.9.2", ""),),
        "gpu",
        "segment_sum under vmap is five times slower",
        "xla 47203, jax 39959",
        cure=_WITHOUT_SCATTERS,
    ),
    KnownFault(
        "jaxlib",
        (("0.11.0", "0.11.1"),),
        "gpu",
        "operations outside of jit give wrong values, and jitted loops after them",
        "jax 40633 (CUDA 13)",
        advice="take 0.11.2 or later",
        chip="A6000",
    ),
    KnownFault(
        "jaxlib",
        (("0.10.0", "0.10.2"),),
        "gpu",
        "one-dimensional dilated bfloat16 convolutions find no algorithm",
        "jax 37922",
        advice="no backbone here has them; one of your own: compute it in float32",
    ),
    KnownFault(
        "libtpu",
        (("0.0.42", "0.0.42"),),
        "tpu",
        "the gradient of x[:, indices, :] outside of jit has rows of zeros",
        "jax 39025",
        advice="differentiate inside of jit alone, as training does",
    ),
    KnownFault(
        "libtpu",
        (("0.0.48", "0.0.48"),),
        "tpu",
        "scatter gradients that are accumulated in scan on a mesh are wrong",
        "xla 49143",
        advice="a head of your own that scatters: config.accumulation_steps=1",
        cure="the head's gradient is taken outside of the loop",
    ),
)


def against(
    installed: Mapping[str, str], *, platform: str, chip: str
) -> list[KnownFault]:
    """Returns what is known against the installed versions on a device.

    Args:
        installed: Package -> version.
        platform: `cpu`, `gpu` or `tpu`.
        chip: What the device is called.
    """
    return [
        fault
        for fault in KNOWN_FAULTS
        if fault.platform == platform
        and fault.chip in chip
        and fault.package in installed
        and any(_is_between(installed[fault.package], *r) for r in fault.releases)
    ]


def _is_between(version: str, first: str, last: str) -> bool:
    parts = _parts(version)
    if parts < _parts(first):
        return False
    # A fourth number is a build of the same release.
    return not last or parts[: len(_parts(last))] <= _parts(last)


def _parts(version: str) -> tuple[int, ...]:
    """The numbers of a version, without what is no release (`.dev2026`, `+cuda`)."""
    release = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, release[0].split("."))) if release else ()
