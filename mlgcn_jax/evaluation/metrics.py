"""Metrics of multi-label recognition, in NumPy: mAP, CF1, OF1 and their parts.

For label i: N_i^p images where it is predicted, N_i^c of them right, N_i^g images that
have it. Over labels, CP = mean N_i^c / N_i^p and CR = mean N_i^c / N_i^g; over all
decisions, OP = sum N^c / sum N^p and OR = sum N^c / sum N^g; CF1 and OF1 are harmonic
means. A quotient 0 / 0 counts 0: a label that is never predicted has precision 0.

Means over labels (mAP, CP, CR) are over the labels that have a positive. On others
recall is undefined and precision 0 whatever is predicted, so that not even the truth
itself would score 1; what is predicted for them still counts in OP.

Differs from ML-GCN's code, which gives NaN where a label has no positive, breaks ties
in AP by the order of the sort, and in OP counts every label that is never predicted as
one wrong prediction.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Num

THRESHOLD = 0.5
TOP_K = 3


def compute_metrics(
    scores: Float[np.ndarray, "n l"], labels: Bool[np.ndarray, "n l"]
) -> dict[str, Any]:
    """Returns all metrics as plain numbers that JSON can hold.

    Args:
        scores: in [0, 1].
        labels: which labels each example has.

    Returns:
        `mAP` (None where no label has a positive); `CP`, `CR`, `CF1`, `OP`, `OR`,
        `OF1` with labels predicted where the score is at least 0.5; the same six under
        `top3`, predicted where among the three highest scores of the example (of equal
        ones the label with the lower index), and under `top3_thresholded`, where both;
        `num_examples`, `num_labels`, `labels_without_positives`.

    Raises:
        ValueError: shapes or types do not fit, or a score is not finite.
    """
    _check(scores, labels)
    ap = average_precision(scores, labels)
    has_positive = labels.any(axis=0)
    confident = scores >= THRESHOLD
    top = _top_k(scores, TOP_K)
    return {
        "mAP": float(ap[has_positive].mean()) if has_positive.any() else None,
        **_precision_recall_f1(confident, labels),
        "top3": _precision_recall_f1(top, labels),
        "top3_thresholded": _precision_recall_f1(top & confident, labels),
        "num_examples": labels.shape[0],
        "num_labels": labels.shape[1],
        "labels_without_positives": int((~has_positive).sum()),
    }


def per_label_metrics(
    scores: Float[np.ndarray, "n l"], labels: Bool[np.ndarray, "n l"]
) -> dict[str, Num[np.ndarray, " l"]]:
    """Returns columns, one value a label, predicted where the score is at least 0.5.

    `ap`, `precision`, `recall`, `f1`, `num_positives`, `num_predicted`; `ap` and
    `recall` are NaN where a label has no positive.

    Raises:
        ValueError: shapes or types do not fit, or a score is not finite.
    """
    _check(scores, labels)
    predicted = scores >= THRESHOLD
    num_correct = (predicted & labels).sum(axis=0)
    num_predicted = predicted.sum(axis=0)
    num_positives = labels.sum(axis=0)
    recall = _ratio(num_correct, num_positives)
    return {
        "ap": average_precision(scores, labels),
        "precision": _ratio(num_correct, num_predicted),
        "recall": np.where(num_positives > 0, recall, np.nan),
        "f1": _ratio(2 * num_correct, num_predicted + num_positives),
        "num_positives": num_positives,
        "num_predicted": num_predicted,
    }


def average_precision(
    scores: Float[np.ndarray, "n l"], labels: Bool[np.ndarray, "n l"]
) -> Float64[np.ndarray, " l"]:
    """Returns non-interpolated AP of each label; NaN where it has no positive.

    The sum over distinct scores, from high to low, of the precision at that score times
    the recall gained there: examples of equal score count at once, in no order.

    Raises:
        ValueError: shapes or types do not fit, or a score is not finite.
    """
    _check(scores, labels)
    ap = np.full(labels.shape[1], np.nan)
    for label in np.flatnonzero(labels.any(axis=0)):  # one at a time: memory stays O(n)
        order = np.argsort(-scores[:, label])
        ranked = scores[order, label]
        last_of_ties = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
        num_correct = np.cumsum(labels[order, label])[last_of_ties]
        precision = num_correct / (last_of_ties + 1)
        recall = num_correct / num_correct[-1]
        ap[label] = np.sum(precision * np.diff(recall, prepend=0.0))
    return ap


def _check(scores: np.ndarray, labels: np.ndarray) -> None:
    if scores.ndim != 2 or scores.shape != labels.shape:
        raise ValueError(
            f"scores {scores.shape} and labels {labels.shape}; expected two of the "
            "same shape [n, l]"
        )
    if labels.dtype != np.bool_ or not np.issubdtype(scores.dtype, np.floating):
        raise ValueError(
            f"labels are {labels.dtype} and scores {scores.dtype}; expected bool and a "
            "floating type"
        )
    if not np.isfinite(scores).all():
        raise ValueError(
            f"{np.count_nonzero(~np.isfinite(scores))} of {scores.size} scores are not "
            "finite; has the model diverged?"
        )


def _top_k(scores: np.ndarray, k: int) -> Bool[np.ndarray, "n l"]:
    """Where the k highest scores of each example are; all where there are fewer."""
    num_examples, num_labels = scores.shape
    rows = np.arange(num_examples)
    rest = scores.copy()
    for _ in range(min(k, num_labels)):
        rest[rows, rest.argmax(axis=1)] = -np.inf  # argmax takes the first of equals
    return np.isneginf(rest)


def _precision_recall_f1(
    predicted: Bool[np.ndarray, "n l"], labels: Bool[np.ndarray, "n l"]
) -> dict[str, float]:
    num_correct = (predicted & labels).sum(axis=0)
    num_predicted = predicted.sum(axis=0)
    num_positives = labels.sum(axis=0)
    kept = num_positives > 0
    cp = _mean(_ratio(num_correct, num_predicted)[kept])
    cr = _mean(_ratio(num_correct, num_positives)[kept])
    op = float(_ratio(num_correct.sum(), num_predicted.sum()))
    or_ = float(_ratio(num_correct.sum(), num_positives.sum()))
    return {
        "CP": cp,
        "CR": cr,
        "CF1": _harmonic_mean(cp, cr),
        "OP": op,
        "OR": or_,
        "OF1": _harmonic_mean(op, or_),
    }


def _ratio(numerator: Any, denominator: Any) -> Any:
    """The quotient of counts, arrays of them or single ones; 0 / 0 is 0."""
    return numerator / np.maximum(denominator, 1)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else 0.0


def _harmonic_mean(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b else 0.0
