"""Pairs of examples for augmentations that mix two."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def of_each(x: jax.Array) -> jax.Array:
    """Returns, for each example of a batch, what the next one has.

    Differs from the papers, which permute the batch: its order is random already, and a
    device then needs one example of its neighbour and not those of all devices.
    """
    return jnp.roll(x, -1, axis=0)


def mix_labels(
    labels: Float[Array, "b l"], share: Float[Array, " b"]
) -> Float[Array, "b l"]:
    """Returns labels of which `share` are the partner's.

    Where one of two that are mixed does not know a label (-1), the mixture does not.
    """
    share = share[:, None]
    others = of_each(labels)
    mixed = (1 - share) * labels + share * others
    mixed = jnp.where((labels < 0) | (others < 0), -1.0, mixed)
    return jnp.where(share == 0, labels, mixed)
