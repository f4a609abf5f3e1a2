"""A module of others as a backbone."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from mlgcn_jax.models import contract
from mlgcn_jax.models.foreign import modules


class ForeignBackbone(nnx.Module):
    """A module images -> map [b h w d], tokens [b n d] or vector [b d].

    Tokens become a map of one column, a vector one of a single position.
    """

    tap_names = ()
    norm_after_pooling = None
    min_image_size_px = 1  # unknown: it is tried at the size of the run

    def __init__(self, module: Any, name: str, *, image_size: int, rngs: nnx.Rngs):
        """Takes a module over; tries it on images of such a side.

        Raises:
            ValueError: it cannot be used; the message says why.
        """
        example = jnp.zeros((2, image_size, image_size, 3))
        self.module = modules.Module(module, name, example, rngs=rngs)
        shape = jax.eval_shape(lambda: self._as_map(example, train=False)).shape
        self.num_features = shape[-1]

    def __call__(
        self,
        image: Float[Array, "b h w 3"],
        *,
        train: bool,
        key: Key[Array, ""] | None = None,
    ) -> contract.ImageFeatures:
        """Returns the features; there are no taps."""
        return contract.ImageFeatures(self._as_map(image, train=train, key=key), {})

    def _as_map(
        self,
        image: Float[Array, "b h w 3"],
        *,
        train: bool,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "b h2 w2 d"]:
        y = self.module(image, train=train, key=key)
        if not isinstance(y, jax.Array) or y.ndim < 2 or len(y) != len(image):
            raise ValueError(
                f"{self.module.name} returns {modules.shape_of(y)} for {len(image)} "
                "images; a backbone returns one array: a map [b, h, w, d], tokens "
                "[b, n, d] or a vector [b, d]"
            )
        if y.ndim == 2:
            return y[:, None, None, :]
        return y[:, :, None, :] if y.ndim == 3 else y
