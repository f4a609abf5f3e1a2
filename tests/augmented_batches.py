"""Batches for the tests of augmentations."""

import jax
import jax.numpy as jnp
import numpy as np

from mlgcn_jax.learning.augmentations import (
    boxes,
)

KEY = jax.random.key(0)
SIDE = 16
# Height and width; an odd number of lines is left over in some.
SIZES = ((16, 16), (16, 9), (7, 16), (16, 10))


def make_batch(*, count=64, num_labels=5, sizes=SIZES, pad=(0, 0, 0), seed=0):
    """Noise, letterboxed as the decoder does it."""
    rng = np.random.default_rng(seed)
    squares, size = [], []
    for i in range(count):
        height, width = sizes[i % len(sizes)]
        square = np.full((SIDE, SIDE, 3), pad, np.uint8)
        picture = rng.integers(1, 255, (height, width, 3), dtype=np.uint8)
        top, left = (SIDE - height) // 2, (SIDE - width) // 2
        square[top : top + height, left : left + width] = picture
        squares.append(square)
        size.append((height, width))
    return {
        "image": jnp.asarray(np.stack(squares)),
        "labels": jnp.asarray(rng.random((count, num_labels)) < 0.4, jnp.float32),
        "size": jnp.asarray(size, jnp.int32),
    }


def pictures_of(batch):
    """The part of each image that is picture."""
    for image, (height, width) in zip(
        np.asarray(batch["image"]), np.asarray(batch["size"]), strict=True
    ):
        top, left = (SIDE - height) // 2, (SIDE - width) // 2
        yield image[top : top + height, left : left + width]


def is_border(batch):
    return ~np.asarray(boxes.of_pictures(batch["size"], SIDE).mask(SIDE))[..., 0]


def assert_equal_batches(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].dtype == other[name].dtype
        np.testing.assert_array_equal(np.asarray(one[name]), np.asarray(other[name]))
