"""Distribution-balanced loss: for labels from very frequent to very rare.

Wu et al. 2020, arXiv:2007.09654.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from mlgcn_jax.data import options
from mlgcn_jax.learning.losses import contract, entries, focal

OPTIONS = {
    "alpha": options.Option(0.1, "the least weight of an entry", 0, 10.0),
    "beta": options.Option(10.0, "steepness of the weight around r = mu", 0, 100.0),
    "mu": options.Option(
        0.2, "r where the weight is alpha + 0.5; authors: 0.2 COCO, 0.3 VOC", 0, 1
    ),
    "kappa": options.Option(
        0.05, "how far logits are shifted by their label's prior; 0: not", 0, 1
    ),
    "negative_scale": options.Option(
        2.0, "lambda, of the negatives' logits; authors: 2 COCO, 5 VOC", 1.0, 100.0
    ),
    "gamma": options.Option(2.0, "of the focal weight; 0: none", 0, 10.0),
}

_FOCAL_SCALE = 2.0  # the authors': makes up for the smaller values of the focal loss


def create(
    *,
    counts: Integer[np.ndarray, " l"],
    num_examples: int,
    alpha: float,
    beta: float,
    mu: float,
    kappa: float,
    negative_scale: float,
    gamma: float,
) -> contract.Loss:
    """Returns the distribution-balanced focal loss, the mean over labels.

    With z = logit - kappa / lambda log(N / n_i - 1), lambda `negative_scale`, the loss
    of an entry is 2 w_i times

        y (1 - sigmoid(z))^gamma log(1 + e^-z)
            + (1 - y) / lambda sigmoid(lambda z)^gamma log(1 + e^(lambda z))

    where w_i = alpha + sigmoid(beta (r_i - mu)) and r_i = (1 / n_i) / sum_j (y_j / n_j)
    over the labels of the image. The authors assume that images are sampled so that
    every label comes equally often, which our batches are not. Scores for users and
    metrics come from the logits without the shift.

    Differs from the authors' code where that divides by zero: labels of no image, or of
    all, count as those of half an image, or of all but half. The weight of an image
    without labels is alpha + 1, the limit of theirs. There is no label smoothing: with
    it, every label would be in every image's sum.
    """
    clipped = np.clip(counts, 0.5, num_examples - 0.5)
    shifts = kappa / negative_scale * np.log(num_examples / clipped - 1)
    shifts = shifts.astype(np.float32)
    inverse_counts = (1 / clipped).astype(np.float32)

    def entry_loss(
        logits: Float[Array, "b l"], labels: Float[Array, "b l"], epoch: contract.Epoch
    ) -> Float[Array, "b l"]:
        del epoch
        inverse = jnp.asarray(inverse_counts)[None]
        of_image = (labels * inverse).sum(axis=1, keepdims=True)  # [b, 1]
        has_labels = of_image > 0
        ratios = inverse / jnp.where(has_labels, of_image, 1)
        weights = jnp.where(has_labels, jax.nn.sigmoid(beta * (ratios - mu)), 1) + alpha
        shifted = logits - jnp.asarray(shifts)[None]
        positive = focal.focal_term(shifted, gamma)
        negative = focal.focal_term(-negative_scale * shifted, gamma) / negative_scale
        return _FOCAL_SCALE * weights * (labels * positive + (1 - labels) * negative)

    return entries.mean_over_labels(entry_loss)
