"""Cross-entropy whose positives weigh more the rarer their label is."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from mlgcn_jax.data import options
from mlgcn_jax.learning.losses import contract, entries

OPTIONS = {
    "power": options.Option(
        1.0,
        "of negatives / positives; 1: both sides of a label weigh the same, 0: "
        "cross-entropy",
        0,
        1,
    ),
    "max_weight": options.Option(
        100.0, "the largest weight; the smallest is 1 / max_weight", 1.0, 1e6
    ),
} | entries.LABEL_SMOOTHING


def create(
    *,
    counts: Integer[np.ndarray, " l"],
    num_examples: int,
    power: float,
    max_weight: float,
    label_smoothing: float,
) -> contract.Loss:
    """Returns -w y log p - (1 - y) log(1 - p), the mean over labels.

    w is `positive_weights`. With power 1 this is the `pos_weight` that PyTorch's
    documentation of `BCEWithLogitsLoss` advises; the bounds are ours, for labels that
    occur in next to no image, or in all.
    """
    weights = positive_weights(
        counts, num_examples, power=power, max_weight=max_weight
    ).astype(np.float32)

    def entry_loss(
        logits: Float[Array, "b l"], labels: Float[Array, "b l"], epoch: contract.Epoch
    ) -> Float[Array, "b l"]:
        del epoch
        positive = labels * jnp.asarray(weights)[None] * jax.nn.softplus(-logits)
        return positive + (1 - labels) * jax.nn.softplus(logits)

    return entries.mean_over_labels(entry_loss, label_smoothing=label_smoothing)


def positive_weights(
    counts: Integer[np.ndarray, " l"],
    num_examples: int,
    *,
    power: float,
    max_weight: float,
) -> Float[np.ndarray, " l"]:
    """Returns ((N - n_i) / n_i) ** power, kept between 1 / max_weight and max_weight.

    A label that no training image has gets the weight of an infinite ratio.
    """
    ratios = np.full(len(counts), np.inf)
    np.divide(num_examples - counts, counts, out=ratios, where=counts > 0)
    return np.clip(ratios**power, 1 / max_weight, max_weight)
