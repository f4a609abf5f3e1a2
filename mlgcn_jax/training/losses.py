"""Loss over logits and multi-hot labels."""

import optax
from jaxtyping import Array, Float


def sigmoid_cross_entropy(
    logits: Float[Array, "b l"], labels: Float[Array, "b l"]
) -> Float[Array, ""]:
    """Returns the mean binary cross-entropy over images and labels, Eq. (5).

    Differs from the paper, where the formula lacks its minus sign.
    """
    return optax.sigmoid_binary_cross_entropy(logits, labels).mean()
