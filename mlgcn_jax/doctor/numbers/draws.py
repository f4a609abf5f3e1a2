"""Random draws: the bits of Threefry, and normal numbers made of them."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from mlgcn_jax.doctor.numbers import block

_COUNT = 1000
_SEED = 20


def blocks() -> list[block.Block]:
    """Returns bits, which are to be the very same, and normal numbers."""
    # A user's default may be another generator, or another order of its counters.
    bits = threefry_bits(_SEED, _COUNT)
    # 23 bits become a number in [1, 2), and that one between -1 and 1.
    unit = ((bits >> 9) | np.uint32(0x3F800000)).view(np.float32).astype(np.float64) - 1
    low = np.nextafter(np.float32(-1), np.float32(0)).astype(np.float64)
    uniform = np.maximum(low, unit * (1 - low) + low)
    seed = (np.uint32(_SEED),)
    return [
        block.Block("random bits", _bits, seed, bits.astype(np.float64), "exact"),
        block.Block(
            "normal draws",
            _normal,
            seed,
            np.sqrt(2) * scipy.special.erfinv(uniform),
            "function",
        ),
    ]


def _bits(seed: jax.Array) -> jax.Array:
    with jax.threefry_partitionable(True):
        return jax.random.bits(_key(seed), (_COUNT,), jnp.uint32)


def _normal(seed: jax.Array) -> jax.Array:
    with jax.threefry_partitionable(True):
        return jax.random.normal(_key(seed), (_COUNT,), jnp.float32)


def _key(seed: jax.Array) -> jax.Array:
    return jax.random.key(seed, impl="threefry2x32")


def threefry_bits(seed: int, count: int) -> np.ndarray:
    """Returns what `jax.random.bits` draws: both halves of a block, or-ed exclusively.

    Args:
        seed: Of the key, below 2^32.
        count: How many words of 32 bits; draw i is the block of counter i.
    """
    first, second = threefry_2x32(
        (0, seed), np.zeros(count, np.uint32), np.arange(count, dtype=np.uint32)
    )
    return first ^ second


def threefry_2x32(
    key: tuple[int, int], first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns Threefry-2x32 of 20 rounds (Salmon et al., SC 2011) of two counters."""
    rotations = ((13, 15, 26, 6), (17, 29, 16, 24))
    words = np.array([*key, 0x1BD11BDA ^ key[0] ^ key[1]], np.uint32)
    first, second = first + words[0], second + words[1]
    for group in range(5):
        for by in rotations[group % 2]:
            first = first + second
            second = (second << np.uint32(by)) | (second >> np.uint32(32 - by))
            second = second ^ first
        first = first + words[(group + 1) % 3]
        second = second + words[(group + 2) % 3] + np.uint32(group + 1)
    return first, second
