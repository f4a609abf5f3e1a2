"""Our metrics beside those of ML-GCN's engine and of torchmetrics.

Where definitions differ a test says how, and holds both answers fast.
"""

import math
import warnings

import mlgcn_metrics
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional import classification

from mlgcn_jax.evaluation import metrics

SIX = ("CP", "CR", "CF1", "OP", "OR", "OF1")
PROPERTY = settings(deadline=None, max_examples=60)
SIZES = {"seed": st.integers(0, 10**6), "n": st.integers(1, 12), "l": st.integers(3, 7)}


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def random_logits(rng: np.random.Generator, n: int, l: int) -> np.ndarray:  # noqa: E741
    """No two are equal; for odd sizes one is the threshold itself."""
    return rng.permuted(np.linspace(-3, 3, n * l)).reshape(n, l)


def six(computed: dict) -> dict[str, float]:
    return {name: computed[name] for name in SIX}


def of_mlgcn(logits: np.ndarray, labels: np.ndarray):
    """Its mAP, its CP ... OF1, and those of its top-3."""
    x, y = torch.from_numpy(logits), torch.from_numpy(labels)
    return (
        mlgcn_metrics.average_precision(x, y).mean().item(),
        mlgcn_metrics.evaluate(mlgcn_metrics.overall(x, y)),
        mlgcn_metrics.evaluate(mlgcn_metrics.overall_topk(x, y, 3)),
    )


@pytest.mark.parametrize("seed", range(5))
def test_ordinary_data_gives_what_mlgcn_gives(seed):
    """Every label has a positive and a prediction, and nothing is tied."""
    rng = np.random.default_rng(seed)
    logits = random_logits(rng, 101, 11) - 1.5
    labels = rng.random(logits.shape) < rng.uniform(0.02, 0.6, 11)
    labels[rng.integers(0, 101, 11), np.arange(11)] = True
    computed = metrics.compute_metrics(sigmoid(logits), labels)
    map_, all_, top3 = of_mlgcn(logits, labels)
    assert computed["mAP"] == pytest.approx(map_)
    assert six(computed) == pytest.approx(all_)
    assert six(computed["top3_thresholded"]) == pytest.approx(top3)
    # Its top-3 asks for the threshold too; ours of that name does not.
    assert computed["top3"]["CR"] > top3["CR"]


@PROPERTY
@given(**SIZES)
def test_any_data_gives_what_mlgcn_gives_but_for_what_is_said(seed, n, l):  # noqa: E741
    """Means over labels are over those with a positive; OP counts real predictions."""
    rng = np.random.default_rng(seed)
    logits = random_logits(rng, n, l)
    labels = rng.random((n, l)) < rng.choice([0.0, 0.3, 1.0], size=l)
    computed = metrics.compute_metrics(sigmoid(logits), labels)
    x, y = torch.from_numpy(logits), torch.from_numpy(labels)

    ap = mlgcn_metrics.average_precision(x, y).numpy()
    ours = metrics.average_precision(sigmoid(logits), labels)
    np.testing.assert_allclose(ours, ap)  # NaN in the same places
    expected = pytest.approx(np.nanmean(ap)) if labels.any() else None
    assert computed["mAP"] == expected

    for part, counts in (
        (computed, mlgcn_metrics.overall(x, y)),
        (computed["top3_thresholded"], mlgcn_metrics.overall_topk(x, y, 3)),
    ):
        over_labels = mlgcn_metrics.evaluate(counts.with_positives())
        for name in ("CP", "CR", "CF1"):
            assert part[name] == pytest.approx(zero_for_nan(over_labels[name]))
        over_decisions = mlgcn_metrics.evaluate(counts)
        assert part["OR"] == pytest.approx(zero_for_nan(over_decisions["OR"]))
        predicted = counts.predicted.sum().item()
        never = (counts.predicted == 0).sum().item()
        share = over_decisions["OP"] * (predicted + never)  # right ones
        assert part["OP"] * predicted == pytest.approx(share)


def zero_for_nan(value: float) -> float:
    return 0.0 if math.isnan(value) else value


NAN = math.nan
# Name -> logits, labels, and (mAP, CP, CR, CF1, OP, OR, OF1) of ours and of ML-GCN.
DEGENERATE = {
    "a label that nobody has, always predicted": (
        [[1, -1, 2], [-1, 1, 3]],
        [[1, 0, 0], [0, 1, 0]],
        (1, 1, 1, 1, 1 / 2, 1, 2 / 3),
        (NAN, 2 / 3, NAN, NAN, 1 / 2, 1, 2 / 3),
    ),
    "a label that is never predicted": (
        [[1, -1], [2, -2]],
        [[1, 1], [1, 0]],
        (1, 1 / 2, 1 / 2, 1 / 2, 1, 2 / 3, 4 / 5),
        (1, 1 / 2, 1 / 2, 1 / 2, 2 / 3, 2 / 3, 2 / 3),
    ),
    "one image": (
        [[2, 1, -1, -2]],
        [[1, 0, 1, 0]],
        (1, 1 / 2, 1 / 2, 1 / 2, 1 / 2, 1 / 2, 1 / 2),
        (NAN, 1 / 4, NAN, NAN, 1 / 4, 1 / 2, 1 / 3),
    ),
    # Ours does not depend on the order of the images. ML-GCN's does: its AP of the
    # first label is 1, of the second (1/3 + 2/4) / 2.
    "all scores equal, and at the threshold": (
        [[0, 0]] * 4,
        [[1, 0], [1, 0], [0, 1], [0, 1]],
        (1 / 2, 1 / 2, 1, 2 / 3, 1 / 2, 1, 2 / 3),
        (17 / 24, 1 / 2, 1, 2 / 3, 1 / 2, 1, 2 / 3),
    ),
    # After one wrong image two right ones of equal score: we count the two at once,
    # 2/3 each; ML-GCN one after the other, 1/2 and 2/3, in whatever order.
    "right images of equal score": (
        [[2], [1], [1]],
        [[0], [1], [1]],
        (2 / 3, 2 / 3, 1, 4 / 5, 2 / 3, 1, 4 / 5),
        (7 / 12, 2 / 3, 1, 4 / 5, 2 / 3, 1, 4 / 5),
    ),
    "no image has a label": (
        [[1, -1], [2, 2]],
        [[0, 0], [0, 0]],
        (None, 0, 0, 0, 0, 0, 0),
        (NAN, 0, NAN, NAN, 0, NAN, NAN),
    ),
    "nothing is predicted": (
        [[-1, -2], [-2, -1]],
        [[1, 0], [0, 1]],
        (1, 0, 0, 0, 0, 0, 0),
        (1, 0, 0, NAN, 0, 0, NAN),
    ),
    "no images": (
        np.zeros((0, 2)),
        np.zeros((0, 2)),
        (None, 0, 0, 0, 0, 0, 0),
        (NAN, 0, NAN, NAN, 0, NAN, NAN),
    ),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_data_has_the_stated_answers(name):
    logits, labels, ours, theirs = DEGENERATE[name]
    x, y = np.array(logits, np.float64), np.array(labels, bool)
    computed = metrics.compute_metrics(sigmoid(x), y)
    assert [computed["mAP"], *six(computed).values()] == pytest.approx(list(ours))
    counts = mlgcn_metrics.overall(torch.from_numpy(x), torch.from_numpy(y))
    ap = mlgcn_metrics.average_precision(torch.from_numpy(x), torch.from_numpy(y))
    found = [ap.mean().item(), *mlgcn_metrics.evaluate(counts).values()]
    assert found == pytest.approx(list(theirs), nan_ok=True)


def test_the_threshold_is_on_scores_where_mlgcn_has_it_on_logits():
    """They differ where float32 rounds a score to 0.5: some 1e-7 below the logit 0."""
    logits = torch.tensor([[-1e-9], [-1e-3]])
    labels = torch.ones(2, 1, dtype=torch.bool)
    scores = torch.sigmoid(logits).numpy()
    assert metrics.compute_metrics(scores, labels.numpy())["OR"] == 1 / 2
    theirs = mlgcn_metrics.evaluate(mlgcn_metrics.overall(logits, labels))
    assert theirs["OR"] == 0


@PROPERTY
@given(levels=st.sampled_from([2, 5, 1000]), **SIZES)
def test_average_precision_is_that_of_torchmetrics(seed, n, l, levels):  # noqa: E741
    """With any ties. It counts 0 for a label without positives, and we leave it out."""
    scores, labels = tied_case(seed, n, l, levels)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No positive samples")
        ap = classification.multilabel_average_precision(
            torch.from_numpy(scores),
            torch.from_numpy(labels).long(),
            l,
            average=None,
        ).numpy()
    kept = labels.any(axis=0)
    ours = metrics.average_precision(scores, labels)
    np.testing.assert_allclose(ours[kept], ap[kept], atol=1e-6)  # theirs is float32
    assert np.isnan(ours[~kept]).all()
    np.testing.assert_array_equal(ap[~kept], 0)


@PROPERTY
@given(levels=st.sampled_from([2, 5, 1000]), **SIZES)
def test_precision_and_recall_are_those_of_torchmetrics(seed, n, l, levels):  # noqa: E741
    """Its F1 over labels is the mean of theirs, CF1 that of CP and CR."""
    scores, labels = tied_case(seed, n, l, levels)
    computed = metrics.compute_metrics(scores, labels)
    per_label = metrics.per_label_metrics(scores, labels)
    x, y = torch.from_numpy(scores), torch.from_numpy(labels).long()
    # Of equal scores the label with the lower index, so a stable sort.
    best = x.argsort(dim=1, descending=True, stable=True)[:, :3]
    among_best = torch.zeros(x.shape, dtype=torch.bool).scatter(1, best, True)
    confident = x >= 0.5
    kept = torch.from_numpy(labels.any(axis=0))
    for part, predicted in (
        (computed, confident),
        (computed["top3"], among_best),
        (computed["top3_thresholded"], among_best & confident),
    ):
        found = {}
        for name, function in (
            ("P", classification.multilabel_precision),
            ("R", classification.multilabel_recall),
            ("F1", classification.multilabel_f1_score),
        ):
            over_labels = function(predicted.long(), y, l, average=None)
            found[f"C{name}"] = over_labels[kept].mean().item() if kept.any() else 0.0
            found[f"O{name}"] = function(predicted.long(), y, l, average="micro").item()
            if part is computed:
                column = {"P": "precision", "R": "recall", "F1": "f1"}[name]
                np.testing.assert_allclose(
                    per_label[column][kept], over_labels[kept], atol=1e-6
                )
        cp, cr = found["CP"], found["CR"]
        found["CF1"] = 2 * cp * cr / (cp + cr) if cp + cr else 0.0
        assert six(part) == pytest.approx(found, abs=1e-6)


def test_a_score_at_the_threshold_is_predicted_where_torchmetrics_asks_for_more():
    scores, labels = np.array([[0.5, 0.5], [0.4, 0.6]]), np.ones((2, 2), bool)
    assert metrics.compute_metrics(scores, labels)["OR"] == 3 / 4
    recall = classification.multilabel_recall(
        torch.from_numpy(scores), torch.ones(2, 2).long(), 2, average="micro"
    )
    assert recall.item() == 1 / 4


def tied_case(seed: int, n: int, l: int, levels: int):  # noqa: E741
    """Scores of few values, and labels some of which nobody or everybody has."""
    rng = np.random.default_rng(seed)
    scores = (rng.integers(0, levels, size=(n, l)) / (levels - 1)).astype(np.float32)
    return scores, rng.random((n, l)) < rng.choice([0.0, 0.3, 1.0], size=l)
