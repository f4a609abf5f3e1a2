"""Asymmetric loss: easy negatives, which are nearly all entries, weigh next to nothing.

Ridnik et al. 2021, arXiv:2009.14119.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from mlgcn_jax.data import options
from mlgcn_jax.learning.losses import contract, entries

OPTIONS = {
    "gamma_positive": options.Option(
        0.0, "g+, of the positives' weight (1 - p)^g+", 0, 10.0
    ),
    "gamma_negative": options.Option(
        4.0, "g-, of the negatives' weight p_m^g-", 0, 10.0
    ),
    "margin": options.Option(
        0.05, "m: negatives with p < m count as learned, p_m = max(p - m, 0)", 0, 0.9
    ),
    "gradient_through_weight": options.Option(
        False, "whether the weights (1 - p)^g+ and p_m^g- have a gradient too"
    ),
} | entries.LABEL_SMOOTHING


def create(
    *,
    gamma_positive: float,
    gamma_negative: float,
    margin: float,
    gradient_through_weight: bool,
    label_smoothing: float,
) -> contract.Loss:
    """Returns -y (1 - p)^g+ log p - (1 - y) p_m^g- log(1 - p_m), mean over labels.

    p_m = max(p - m, 0). The defaults are those of the authors' training script. Differs
    from the authors' code, which sums over images and labels: theirs is b l times
    larger, and so is its gradient.
    """

    def entry_loss(
        logits: Float[Array, "b l"], labels: Float[Array, "b l"], epoch: contract.Epoch
    ) -> Float[Array, "b l"]:
        del epoch
        # Powers of logarithms, as in `focal`.
        positive_weight = jnp.exp(gamma_positive * jax.nn.log_sigmoid(-logits))
        negative_weight, log_absent = _negative(logits, gamma_negative, margin)
        if not gradient_through_weight:
            positive_weight = lax.stop_gradient(positive_weight)
            negative_weight = lax.stop_gradient(negative_weight)
        positive = positive_weight * jax.nn.softplus(-logits)
        return labels * positive - (1 - labels) * negative_weight * log_absent

    return entries.mean_over_labels(entry_loss, label_smoothing=label_smoothing)


def _negative(
    logits: Float[Array, "b l"], gamma: float, margin: float
) -> tuple[Float[Array, "b l"], Float[Array, "b l"]]:
    """Returns p_m^gamma and log(1 - p_m)."""
    if margin == 0:  # then 1 - p_m has nothing that keeps it from 0
        weight = jnp.exp(gamma * jax.nn.log_sigmoid(logits))
        return weight, jax.nn.log_sigmoid(-logits)
    shifted = jax.nn.relu(jax.nn.sigmoid(logits) - margin)
    # Where p_m is 0 so is log(1 - p_m), and the weight does not matter; 0^gamma has no
    # finite gradient for gamma below 1.
    weight = jnp.where(shifted > 0, shifted, 1) ** gamma
    # sigmoid(-x) + m, not 1 - p_m: p rounds to 1 long before 1 - p rounds to 0.
    return weight, jnp.log(jnp.minimum(jax.nn.sigmoid(-logits) + margin, 1))
