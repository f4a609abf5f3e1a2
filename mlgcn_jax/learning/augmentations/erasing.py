"""Random erasing (Zhong et al. 2020, arXiv:1708.04896)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, UInt8

from mlgcn_jax.data import letterboxes, options
from mlgcn_jax.learning.augmentations import boxes, contract

OPTIONS = {
    "erasing": options.Option(0.0, "share of pictures in which a box is erased", 0, 1),
    "erasing_min_area": options.Option(
        0.02, "smallest box, as a share of the picture", 0, 1
    ),
    "erasing_max_area": options.Option(
        0.4, "largest box, as a share of the picture", 0, 1
    ),
    "erasing_max_ratio": options.Option(
        10 / 3, "longest box, long side to short side", 1, 100
    ),
    "erasing_fill": options.Option(
        "noise",
        "what the box is filled with",
        choices=("noise", *letterboxes.PAD_COLOURS),
    ),
}


def erase(
    batch: contract.Batch,
    key: Key[Array, ""],
    *,
    probability: float,
    area: tuple[float, float],
    max_ratio: float,
    fill: str,
) -> contract.Batch:
    """Returns pictures in some of which a box within the picture is filled.

    Area uniform, ratio uniform in its logarithm. Differs from the paper in that, where
    the ratio is uniform itself, and in a box that is longer than the picture, which is
    drawn again there and cut to the picture here.

    Args:
        batch: see `contract`.
        key: of the random numbers.
        probability: that a picture gets a box.
        area: smallest and largest, as shares of the picture.
        max_ratio: height to width or width to height at most.
        fill: noise (random bytes), or one of `letterboxes.PAD_COLOURS`.
    """
    image = batch["image"]
    b, side = image.shape[:2]
    is_key, area_key, ratio_key, place_key, fill_key = jax.random.split(key, 5)
    is_erased = jax.random.bernoulli(is_key, probability, (b, 1, 1, 1))
    picture = boxes.of_pictures(batch["size"], side)
    share = jax.random.uniform(area_key, (b,), minval=area[0], maxval=area[1])
    log_ratio = jax.random.uniform(ratio_key, (b,), minval=-1, maxval=1)
    ratio = jnp.float32(max_ratio) ** log_ratio  # height to width
    length, root = jnp.sqrt(share * picture.area()), jnp.sqrt(ratio)
    box = boxes.anywhere(
        jnp.minimum(jnp.round(length * root).astype(jnp.int32), picture.height),
        jnp.minimum(jnp.round(length / root).astype(jnp.int32), picture.width),
        picture,
        place_key,
    )
    filling = _filling(image, fill, fill_key)
    return batch | {"image": jnp.where(is_erased & box.mask(side), filling, image)}


def _filling(
    image: UInt8[Array, "b s s 3"], fill: str, key: Key[Array, ""]
) -> UInt8[Array, "_ _ _ 3"]:
    if fill == "noise":
        return jax.random.bits(key, image.shape, jnp.uint8)
    return jnp.asarray(letterboxes.PAD_COLOURS[fill], jnp.uint8).reshape(1, 1, 1, 3)
