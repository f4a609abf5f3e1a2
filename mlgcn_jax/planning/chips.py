"""Accelerators: what is known of a chip, and how `v5e:2x4` names many."""

import math
from typing import Literal, NamedTuple


class Chip(NamedTuple):
    """Published figures of one chip.

    Attributes:
        platform: JAX's name for its kind.
        device_kind: what JAX calls such a device; cards of the same name with less
            memory or fewer watts have other figures.
        flops_per_s: peak of dense bfloat16 products.
        hbm_bytes: size of its memory.
        hbm_bytes_per_s: bandwidth of its memory.
        link_bytes_per_s: what all its links to other chips (TPUs: of the slice, GPUs:
            of the host) send together; they receive as much at the same time.
        network_bytes_per_s: what its network card sends to other hosts; None where the
            links reach all chips.
    """

    platform: Literal["gpu", "tpu"]
    device_kind: str
    flops_per_s: float
    hbm_bytes: int
    hbm_bytes_per_s: float
    link_bytes_per_s: float
    network_bytes_per_s: float | None


# Links of TPUs: half of the bidirectional bandwidth a chip of Google's pages "TPU v5e",
# "TPU v5p" and "TPU v6e" (400, 1200 and 800 GB/s). Links of GPUs: half of NVLink's 600
# and 900 GB/s in NVIDIA's data sheets; network: the card that each GPU of a DGX A100
# (200 Gb/s) and of a DGX H100 or H200 (400 Gb/s) has. GPUs are SXM cards.
CHIPS = {
    "v5e": Chip("tpu", "TPU v5 lite", 197e12, 16 * 2**30, 819e9, 200e9, None),
    "v5p": Chip("tpu", "TPU v5", 459e12, 95 * 2**30, 2765e9, 600e9, None),
    "v6e": Chip("tpu", "TPU v6 lite", 918e12, 32 * 2**30, 1640e9, 400e9, None),
    "a100": Chip(
        "gpu", "NVIDIA A100-SXM4-80GB", 312e12, 80 * 2**30, 2039e9, 300e9, 25e9
    ),
    "h100": Chip(
        "gpu", "NVIDIA H100 80GB HBM3", 989e12, 80 * 2**30, 3352e9, 450e9, 50e9
    ),
    "h200": Chip("gpu", "NVIDIA H200", 989e12, 140 * 2**30, 4800e9, 450e9, 50e9),
}
_GPUS_PER_HOST = 8


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

    @property
    def chips_per_host(self) -> int:
        """How many of a host's reach each other without the network."""
        return self.shape[-1] if self.chip.platform == "gpu" else self.num_chips


def of_device(device_kind: str) -> Chip | None:
    """Returns the chip that JAX calls so; None where it is none of `CHIPS`."""
    return next((c for c in CHIPS.values() if c.device_kind == device_kind), None)


def parse_topology(text: str) -> Topology:
    """Returns what `v5e:2x4`, `h100:8` (one host) or `h100:2x8` (two) names.

    `h100:64` is `h100:8x8`: a host has eight GPUs at most.

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
        if len(sizes) == 1 and int(sizes[0]) > _GPUS_PER_HOST:
            hosts, left = divmod(int(sizes[0]), _GPUS_PER_HOST)
            if left:
                raise ValueError(
                    f"topology {text!r}: hosts have {_GPUS_PER_HOST} GPUs; use a "
                    f"multiple of them, or say hosts and GPUs of each ({name}:3x4)"
                )
            sizes = [str(hosts), str(_GPUS_PER_HOST)]
        sizes = ["1", *sizes][-2:]
    elif len(sizes) not in (2, 3):
        raise ValueError(
            f"topology {text!r}: TPUs lie in a grid of two or three dimensions, as in "
            "v5e:2x4 or v5p:2x2x1"
        )
    return Topology(name, tuple(map(int, sizes)))
