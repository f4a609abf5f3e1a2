"""Boxes in the images of a batch, one for each image: pictures, and parts of them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Int32, Key


class Boxes(NamedTuple):
    """Upper left corners and sizes, in px."""

    top: Int[Array, " b"]
    left: Int[Array, " b"]
    height: Int[Array, " b"]
    width: Int[Array, " b"]

    def area(self) -> Int[Array, " b"]:
        """Returns the number of pixels of each box."""
        return self.height * self.width

    def mask(self, side: int) -> Bool[Array, "b s s 1"]:
        """Returns which pixels of images with this side are in the box."""
        pixels = jnp.arange(side)[None, :]
        top, left = self.top[:, None], self.left[:, None]
        rows = (top <= pixels) & (pixels < top + self.height[:, None])
        columns = (left <= pixels) & (pixels < left + self.width[:, None])
        return (rows[:, :, None] & columns[:, None, :])[..., None]


def of_pictures(size: Int32[Array, "b 2"], side: int) -> Boxes:
    """Returns where the pictures are, as `letterboxes.clear_border` lays them out.

    Args:
        size: height and width of each picture.
        side: of the images.
    """
    height, width = size[:, 0], size[:, 1]
    return Boxes((side - height) // 2, (side - width) // 2, height, width)


def anywhere(
    height: Int[Array, " b"],
    width: Int[Array, " b"],
    within: Boxes,
    key: Key[Array, ""],
) -> Boxes:
    """Returns boxes of these sizes, each anywhere in the one it lies within."""
    key_of_top, key_of_left = jax.random.split(key)
    # maxval is exclusive.
    down = jax.random.randint(key_of_top, height.shape, 0, within.height - height + 1)
    right = jax.random.randint(key_of_left, width.shape, 0, within.width - width + 1)
    return Boxes(within.top + down, within.left + right, height, width)
