"""Random changes to training images, on the device and inside the step."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, UInt8


def flip_horizontally(
    image: UInt8[Array, "b h w 3"], key: Key[Array, ""]
) -> UInt8[Array, "b h w 3"]:
    """Returns the batch with each image mirrored with probability 1/2."""
    flip = jax.random.bernoulli(key, shape=(image.shape[0], 1, 1, 1))
    return jnp.where(flip, image[:, :, ::-1], image)
