"""Horizontal flip."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from mlgcn_jax.data import options
from mlgcn_jax.learning.augmentations import contract

OPTIONS = {"flip": options.Option(True, "mirror each image with probability 1/2")}


def flip_horizontally(batch: contract.Batch, key: Key[Array, ""]) -> contract.Batch:
    """Returns the batch with each image mirrored with probability 1/2.

    A picture that an odd number of columns is left to lies one of them further right
    when it is mirrored: `size` then says where it is but for that column.
    """
    image = batch["image"]
    flip = jax.random.bernoulli(key, shape=(image.shape[0], 1, 1, 1))
    return batch | {"image": jnp.where(flip, image[:, :, ::-1], image)}
