"""Arithmetic that augmentations of pixels share."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int32, UInt8

# Of red, green and blue, in 65536ths: ITU-R 601, in Pillow's integers.
_LUMA = (19595, 38470, 7471)


def to_uint8(x: Float[Array, "*shape"]) -> UInt8[Array, "*shape"]:
    """Returns values rounded to the nearest and cut to [0, 255].

    Images stay uint8 from one augmentation to the next, so that each may be used by
    itself and normalisation stays as it is; rounding costs half a level at most.
    """
    return jnp.clip(jnp.round(x), 0, 255).astype(jnp.uint8)


def luma(image: UInt8[Array, "b h w 3"]) -> UInt8[Array, "b h w 1"]:
    """Returns grey levels, exactly those of Pillow's `convert("L")`."""
    weighted: Int32[Array, "b h w 3"] = image.astype(jnp.int32) * jnp.asarray(
        _LUMA, jnp.int32
    ).reshape(1, 1, 1, 3)
    total = weighted.sum(axis=-1, keepdims=True) + 0x8000
    return (total >> 16).astype(jnp.uint8)
