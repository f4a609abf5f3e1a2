"""Accelerators: what is known of a chip, and how `v5e:2x4` names many."""

import math
from typing import Literal, NamedTuple


class Chip(NamedTuple):
    """Published figures of one chip.

    Attributes:
        platform: JAX's name for its kind.
        flops_per_s: peak of dense bfloat16 products.
        hbm_bytes: size of its memory.
        hbm_bytes_per_s: bandwidth of its memory.
    """

    platform: Literal["gpu", "tpu"]
    flops_per_s: float
    hbm_bytes: int
    hbm_bytes_per_s: float


CHIPS = {
    "v5e": Chip("tpu", 197e12, 16 * 2**30, 819e9),
    "v5p": Chip("tpu", 459e12, 95 * 2**30, 2765e9),
    "v6e": Chip("tpu", 918e12, 32 * 2**30, 1640e9),
    "a100": Chip("gpu", 312e12, 80 * 2**30, 2039e9),  # SXM, 80 GB
    "h100": Chip("gpu", 989e12, 80 * 2**30, 3352e9),  # SXM, 80 GB
}


class Topology(NamedTuple):
    """Chips of one kind, and how they are joined.

    Attributes:
        name: of the chip, a key of `CHIPS`.
        shape: of the torus of TPUs; hosts and GPUs a host.
    """

    name: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        """As `parse_topology` reads it."""
        return f"{self.name}:{'x'.join(map(str, self.shape))}"

    @property
    def chip(self) -> Chip:
        """The figures of each chip."""
        return CHIPS[self.name]

    @property
    def num_chips(self) -> int:
        """How many there are."""
        return math.prod(self.shape)


def parse_topology(text: str) -> Topology:
    """Returns what `v5e:2x4`, `h100:8` (one host) or `h100:2x8` (two) names.

    Raises:
        ValueError: it names no chip that is known, or no number of them.
    """
    name, _, shape = text.partition(":")
    if name not in CHIPS:
        raise ValueError(
            f"topology {text!r}: no chip {name!r}; use one of {', '.join(CHIPS)}"
        )
    sizes = shape.split("x")
    if not all(size.isascii() and size.isdigit() and int(size) for size in sizes):
        raise ValueError(
            f"topology {text!r}: expected numbers after the chip, as in v5e:2x4 or "
            "h100:8"
        )
    if CHIPS[name].platform == "gpu":
        if len(sizes) > 2:
            raise ValueError(
                f"topology {text!r}: expected GPUs of one host (h100:8), or hosts and "
                "GPUs of each (h100:2x8)"
            )
        sizes = ["1", *sizes][-2:]
    elif len(sizes) not in (2, 3):
        raise ValueError(
            f"topology {text!r}: TPUs lie in a grid of two or three dimensions, as in "
            "v5e:2x4 or v5p:2x2x1"
        )
    return Topology(name, tuple(map(int, sizes)))
