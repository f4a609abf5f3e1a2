"""Hill loss: confident "mistakes" among negatives are taken for missing labels.

Zhang et al. 2021, arXiv:2112.07368.
"""

import jax
from jaxtyping import Array, Float

from mlgcn_jax.data import options
from mlgcn_jax.learning.losses import contract, entries, focal

OPTIONS = {
    "lamb": options.Option(
        1.5,
        "lambda of the negatives' (lambda - p) p^2; with 1.5 its slope is 0 at p = 1",
        1.0,
        10.0,
    ),
    "margin": options.Option(
        1.0, "m: positives are wanted with logits of m more", 0, 10.0
    ),
    "gamma": options.Option(2.0, "of the positives' focal loss", 0, 10.0),
} | entries.LABEL_SMOOTHING


def create(
    *, lamb: float, margin: float, gamma: float, label_smoothing: float
) -> contract.Loss:
    """Returns -y (1 - p')^gamma log p' + (1 - y) (lambda - p) p^2, mean over labels.

    p' = sigmoid(logit - margin). Differs from the authors' code, which sums over
    images and labels, and whose log p' is -inf for logits that are very negative.
    """

    def entry_loss(
        logits: Float[Array, "b l"], labels: Float[Array, "b l"], epoch: contract.Epoch
    ) -> Float[Array, "b l"]:
        del epoch
        positive = focal.focal_term(logits - margin, gamma)
        scores = jax.nn.sigmoid(logits)
        return labels * positive + (1 - labels) * (lamb - scores) * scores**2

    return entries.mean_over_labels(entry_loss, label_smoothing=label_smoothing)
