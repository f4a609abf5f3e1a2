"""ZLPR: every present label above 0, every absent one below, all in one logarithm."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from mlgcn_jax.data import options
from mlgcn_jax.learning.losses import contract

OPTIONS: dict[str, options.Option] = {}


def create() -> contract.Loss:
    """Returns log(1 + sum_i y_i e^-x_i) + log(1 + sum_i (1 - y_i) e^x_i) of each image.

    Su et al. 2022, arXiv:2208.02955; for labels between 0 and 1 their soft form, which
    is the same. Weights multiply the terms of the sums.

    It is no mean: it grows with log l, and wants a learning rate of its own. Sigmoids
    of the logits are no probabilities; the threshold is where they are 0.5.
    """

    def loss(
        logits: Float[Array, "b l"],
        labels: Float[Array, "b l"],
        weights: Float[Array, "b l"] | None,
        epoch: contract.Epoch,
    ) -> Float[Array, " b"]:
        del epoch
        logits = logits.astype(jnp.float32)
        labels = labels.astype(jnp.float32)
        known = (labels >= 0).astype(jnp.float32)
        if weights is not None:
            known = known * weights.astype(jnp.float32)
        positive = _log_one_plus_sum(-logits, known * labels)
        return positive + _log_one_plus_sum(logits, known * (1 - labels))

    return loss


def _log_one_plus_sum(
    x: Float[Array, "b l"], weights: Float[Array, "b l"]
) -> Float[Array, " b"]:
    """Returns log(1 + sum_i w_i e^x_i), without overflow."""
    has_weight = weights > 0
    log_weights = jnp.log(jnp.where(has_weight, weights, 1))
    x = jnp.where(has_weight, x + log_weights, -jnp.inf)
    # Any shift gives the same sum, so none has a gradient.
    shift = lax.stop_gradient(jnp.maximum(x.max(axis=1, keepdims=True), 0))
    terms = jnp.exp(x - shift).sum(axis=1)
    shift = shift.squeeze(axis=1)
    # e^-shift is the 1 of the formula; log1p keeps sums that are much smaller than 1.
    return shift + jnp.log1p(terms + jnp.expm1(-shift))
