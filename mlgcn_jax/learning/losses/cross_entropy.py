"""Binary cross-entropy of every label: the paper's loss, and the default."""

import optax
from jaxtyping import Array, Float

from mlgcn_jax.learning.losses import contract, entries

OPTIONS = entries.LABEL_SMOOTHING


def create(*, label_smoothing: float) -> contract.Loss:
    """Returns the binary cross-entropy, the mean over labels, Eq. (5)."""

    def entry_loss(
        logits: Float[Array, "b l"], labels: Float[Array, "b l"], epoch: contract.Epoch
    ) -> Float[Array, "b l"]:
        del epoch
        return sigmoid_cross_entropy(logits, labels)

    return entries.mean_over_labels(entry_loss, label_smoothing=label_smoothing)


def sigmoid_cross_entropy(
    logits: Float[Array, "b l"], labels: Float[Array, "b l"]
) -> Float[Array, "b l"]:
    """Returns the binary cross-entropy of each entry, Eq. (5).

    Differs from the paper, where the formula lacks its minus sign.
    """
    return optax.sigmoid_binary_cross_entropy(logits, labels)
