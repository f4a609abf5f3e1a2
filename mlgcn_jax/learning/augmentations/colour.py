"""Changes of colour; the border keeps its own.

Factors and blends are those of torchvision's ColorJitter, which draws the order too;
here it is that of this file.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, UInt8

from mlgcn_jax.data import options
from mlgcn_jax.learning.augmentations import boxes, contract, pixels

_STRENGTH = "of each picture multiplied by a factor from 1 - x to 1 + x; 0: not"

BRIGHTNESS = {"brightness": options.Option(0.0, f"brightness {_STRENGTH}", 0, 1)}
CONTRAST = {"contrast": options.Option(0.0, f"contrast {_STRENGTH}", 0, 1)}
SATURATION = {"saturation": options.Option(0.0, f"saturation {_STRENGTH}", 0, 1)}
GREYSCALE = {
    "greyscale": options.Option(0.0, "share of pictures that lose their colour", 0, 1)
}


def jitter_brightness(
    batch: contract.Batch, key: Key[Array, ""], *, strength: float
) -> contract.Batch:
    """Returns pictures made darker or brighter: blended with black."""
    return _blend(batch, jnp.float32(0), _factors(batch, key, strength))


def jitter_contrast(
    batch: contract.Batch, key: Key[Array, ""], *, strength: float
) -> contract.Batch:
    """Returns pictures blended with the mean of their grey levels, border left out."""
    is_picture = _is_picture(batch)
    grey = jnp.where(is_picture, pixels.luma(batch["image"]), 0)
    # Whole numbers first: their sum does not depend on its order. An image may be too
    # large for one such sum, not a row of it.
    sums = grey.astype(jnp.int32).sum(axis=(2, 3)).astype(jnp.float32).sum(axis=1)
    height, width = batch["size"][:, 0], batch["size"][:, 1]
    mean = sums / jnp.maximum(height * width, 1)
    return _blend(batch, mean[:, None, None, None], _factors(batch, key, strength))


def jitter_saturation(
    batch: contract.Batch, key: Key[Array, ""], *, strength: float
) -> contract.Batch:
    """Returns pictures blended with their grey levels."""
    grey = pixels.luma(batch["image"]).astype(jnp.float32)
    return _blend(batch, grey, _factors(batch, key, strength))


def make_grey(
    batch: contract.Batch, key: Key[Array, ""], *, probability: float
) -> contract.Batch:
    """Returns pictures of which some have lost their colour."""
    image = batch["image"]
    is_grey = jax.random.bernoulli(key, probability, (len(image), 1, 1, 1))
    return _replace(batch, jnp.where(is_grey, pixels.luma(image), image))


def _factors(
    batch: contract.Batch, key: Key[Array, ""], strength: float
) -> Float[Array, "b 1 1 1"]:
    shape = (len(batch["image"]), 1, 1, 1)
    return jax.random.uniform(key, shape, minval=1 - strength, maxval=1 + strength)


def _blend(
    batch: contract.Batch, other: jax.Array, factor: Float[Array, "b 1 1 1"]
) -> contract.Batch:
    """Returns pictures, `factor` of each and the rest of another."""
    image = batch["image"].astype(jnp.float32)
    return _replace(batch, pixels.to_uint8(factor * image + (1 - factor) * other))


def _replace(batch: contract.Batch, image: UInt8[Array, "b s s 3"]) -> contract.Batch:
    """Returns the batch with other pictures and the same border."""
    return batch | {"image": jnp.where(_is_picture(batch), image, batch["image"])}


def _is_picture(batch: contract.Batch) -> jax.Array:
    side = batch["image"].shape[1]
    return boxes.of_pictures(batch["size"], side).mask(side)
