"""Pixels as a backbone expects them."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8


class Normalization(NamedTuple):
    """What a backbone was pretrained with; the default is ImageNet's.

    Attributes:
        mean: of each channel in the order in which the backbone sees them, pixels in
            0..1.
        std: likewise.
        colour_order: `rgb` or `bgr`.
    """

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    colour_order: str = "rgb"

    def __call__(self, image: UInt8[Array, "b h w 3"]) -> Float[Array, "b h w 3"]:
        """Returns RGB pixels normalised, float32."""
        if self.colour_order == "bgr":
            image = image[..., ::-1]
        mean = jnp.asarray(self.mean)[None, None, None, :]
        std = jnp.asarray(self.std)[None, None, None, :]
        return (image.astype(jnp.float32) / 255.0 - mean) / std


IMAGENET = Normalization()
