"""The metrics of ML-GCN's engine (`AveragePrecisionMeter`), written anew in torch.

From the definitions, where a label is predicted if its logit is at least 0 and no 0 / 0
is caught: it is NaN here, as there.
"""

from typing import NamedTuple

import torch

LOGIT_THRESHOLD = 0.0


class Counts(NamedTuple):
    """N^c, N^p and N^g of every label: `[l]` each."""

    correct: torch.Tensor
    predicted: torch.Tensor
    present: torch.Tensor

    def with_positives(self) -> "Counts":
        """Those of the labels that have a positive."""
        return Counts(*(values[self.present > 0] for values in self))


def average_precision(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean over a label's images of the precision at their rank, `[l]`.

    One rank an image: equal logits are ranked by their place in the split.
    """
    order = logits.argsort(dim=0, descending=True, stable=True)
    ranked = labels.double().gather(0, order)
    ranks = torch.arange(1, len(logits) + 1)[:, None]
    return (ranked * ranked.cumsum(0) / ranks).sum(0) / ranked.sum(0)


def overall(logits: torch.Tensor, labels: torch.Tensor) -> Counts:
    """Counts where labels are predicted by the threshold."""
    return count(logits >= LOGIT_THRESHOLD, labels)


def overall_topk(logits: torch.Tensor, labels: torch.Tensor, k: int) -> Counts:
    """Counts where they are predicted by the threshold and are of the k best."""
    values, indices = logits.topk(k, dim=1)
    predicted = torch.zeros_like(labels)
    return count(predicted.scatter(1, indices, values >= LOGIT_THRESHOLD), labels)


def count(predicted: torch.Tensor, labels: torch.Tensor) -> Counts:
    """Counts of any predictions; both are bool `[n, l]`."""
    return Counts((predicted & labels).sum(0), predicted.sum(0), labels.sum(0))


def evaluate(counts: Counts) -> dict[str, float]:
    """CP ... OF1; a label that is never predicted counts as predicted once, wrongly."""
    correct, predicted, present = (part.double() for part in counts)
    predicted = torch.where(predicted == 0, 1.0, predicted)
    cp, cr = (correct / predicted).mean(), (correct / present).mean()
    op, or_ = correct.sum() / predicted.sum(), correct.sum() / present.sum()
    values = {"CP": cp, "CR": cr, "CF1": 2 * cp * cr / (cp + cr)}
    values |= {"OP": op, "OR": or_, "OF1": 2 * op * or_ / (op + or_)}
    return {name: value.item() for name, value in values.items()}
