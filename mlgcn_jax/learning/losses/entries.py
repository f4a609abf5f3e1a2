"""A loss of single entries -> the loss of each image: what such losses share."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from mlgcn_jax.data import options
from mlgcn_jax.learning.losses import contract

LABEL_SMOOTHING = {
    "label_smoothing": options.Option(
        0.0,
        "a: labels y become y (1 - 2 a) + a, so that no logit grows without bound",
        0,
        0.5,
    )
}


# Logits, labels, epoch -> the loss of each entry, in float32; no label is unknown.
EntryLoss = Callable[
    [Float[Array, "b l"], Float[Array, "b l"], contract.Epoch], Float[Array, "b l"]
]


def mean_over_labels(
    entry_loss: EntryLoss, *, label_smoothing: float = 0.0
) -> contract.Loss:
    """Returns the loss that is the mean of `entry_loss` over the labels of an image.

    The divisor is l, also where labels are unknown: an entry counts the same in every
    image, and few known labels make a small loss rather than a noisy one.

    Smoothing is that of l yes-or-no questions. Differs from y (1 - a) + a / l (Szegedy
    et al. 2016, arXiv:1512.00567, section 7), which is for a softmax over l classes.
    """

    def loss(
        logits: Float[Array, "b l"],
        labels: Float[Array, "b l"],
        weights: Float[Array, "b l"] | None,
        epoch: contract.Epoch,
    ) -> Float[Array, " b"]:
        logits = logits.astype(jnp.float32)
        labels = labels.astype(jnp.float32)
        known = labels >= 0
        # The inputs are masked too: a gradient that is not finite would come through
        # the outer mask as 0 * inf.
        logits = jnp.where(known, logits, 0)
        labels = jnp.where(known, labels, 0)
        labels = labels * (1 - 2 * label_smoothing) + label_smoothing
        entries = jnp.where(known, entry_loss(logits, labels, epoch), 0)
        if weights is not None:
            entries = entries * weights.astype(jnp.float32)
        return entries.mean(axis=1)

    return loss
