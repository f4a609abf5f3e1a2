"""Focal loss: what is already told apart weighs less."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlgcn_jax.data import options
from mlgcn_jax.learning.losses import contract, entries

OPTIONS = {
    "gamma": options.Option(
        2.0,
        "how fast the weight of an entry falls as it is learned; 0: cross-entropy",
        0,
        10.0,
    ),
} | entries.LABEL_SMOOTHING


def create(*, gamma: float, label_smoothing: float) -> contract.Loss:
    """Returns -(1 - p_t)^gamma log p_t, the mean over labels.

    Lin et al. 2017, arXiv:1708.02002, Eq. (4), without the class weight alpha. p_t is p
    where a label is present and 1 - p where it is absent.
    """

    def entry_loss(
        logits: Float[Array, "b l"], labels: Float[Array, "b l"], epoch: contract.Epoch
    ) -> Float[Array, "b l"]:
        del epoch
        positive = focal_term(logits, gamma)
        return labels * positive + (1 - labels) * focal_term(-logits, gamma)

    return entries.mean_over_labels(entry_loss, label_smoothing=label_smoothing)


def focal_term(logits: Float[Array, "b l"], gamma: float) -> Float[Array, "b l"]:
    """Returns -(1 - p)^gamma log p of the label's presence, p = sigmoid(logit).

    That of its absence is the term of the negated logit. Powers are taken of
    logarithms: 1 - p is 0 from a logit of 17 on, and 0^gamma has no gradient below 1.
    """
    weight = jnp.exp(gamma * jax.nn.log_sigmoid(-logits))
    return weight * jax.nn.softplus(-logits)
