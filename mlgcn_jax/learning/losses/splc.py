"""Self-paced loss correction: what the model is sure of is taken for a missing label.

Zhang et al. 2021, arXiv:2112.07368.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlgcn_jax.data import options
from mlgcn_jax.learning.losses import contract, entries, focal

OPTIONS = {
    "tau": options.Option(
        0.6, "score above which a negative is taken for a positive", 0, 1
    ),
    "change_epoch": options.Option(1.0, "epochs before any negative is", 0, 1e6),
    "margin": options.Option(
        1.0, "m: positives are wanted with logits of m more", 0, 10.0
    ),
    "gamma": options.Option(2.0, "of the focal loss on both sides", 0, 10.0),
} | entries.LABEL_SMOOTHING


def create(
    *,
    tau: float,
    change_epoch: float,
    margin: float,
    gamma: float,
    label_smoothing: float,
) -> contract.Loss:
    """Returns focal loss that from `change_epoch` on corrects negatives; a mean.

    Positives: -(1 - p')^gamma log p' with p' = sigmoid(logit - margin). Negatives:
    -p^gamma log(1 - p), and once `change_epoch` epochs are done, those with p > tau:
    -(1 - p)^gamma log p, without the margin, as in the authors' code. Differs from it
    in that it sums over images and labels.
    """

    def entry_loss(
        logits: Float[Array, "b l"], labels: Float[Array, "b l"], epoch: contract.Epoch
    ) -> Float[Array, "b l"]:
        positive = focal.focal_term(logits - margin, gamma)
        missing = (jax.nn.sigmoid(logits) > tau) & (epoch >= change_epoch)
        negative = jnp.where(
            missing, focal.focal_term(logits, gamma), focal.focal_term(-logits, gamma)
        )
        return labels * positive + (1 - labels) * negative

    return entries.mean_over_labels(entry_loss, label_smoothing=label_smoothing)
