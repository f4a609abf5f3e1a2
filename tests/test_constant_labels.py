"""Labels that nearly every picture has, and what is said of scores with them."""

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from mlgcn_jax.data import constant_labels
from mlgcn_jax.evaluation import metrics, notes


def test_from_nineteen_of_twenty_on():
    counts = np.array([0, 18, 19, 20])
    np.testing.assert_array_equal(constant_labels.find(counts, 20), [2, 3])
    for total in range(20, 2000, 20):  # no rounding at the border
        counts = np.array([total * 19 // 20 - 1, total * 19 // 20])
        np.testing.assert_array_equal(constant_labels.find(counts, total), [1])
    assert constant_labels.find(np.array([0, 0]), 0).size == 0
    assert constant_labels.find(np.zeros(0, int), 5).size == 0


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 60), st.floats(0, 1), st.integers(0, 10**6))
def test_who_has_learnt_nothing_scores_so_much(n, share, seed):
    """What the module says of a model that always says yes, with scikit-learn."""
    labels = np.random.default_rng(seed).random((n, 1)) < share
    scores = np.full((n, 1), 0.9)
    found = constant_labels.find(labels.sum(axis=0), n)
    s = labels.mean()
    if s:
        ap = sklearn.metrics.average_precision_score(labels[:, 0], scores[:, 0])
        assert ap == pytest.approx(s)
        assert metrics.compute_metrics(scores, labels)["mAP"] == pytest.approx(s)
        f1 = sklearn.metrics.f1_score(labels[:, 0], scores[:, 0] > 0)
        assert f1 == pytest.approx(2 * s / (1 + s))
    assert found.tolist() == ([0] if s >= 0.95 else [])


def test_splits_of_the_same_labels_are_told_together():
    both = np.array([20, 3])
    lines = constant_labels.notes(
        ["a", "b"], {"train": (both, 20), "validation": (both, 20)}
    )
    assert len(lines) == 1
    apart = {"train": (np.array([10, 3]), 20), "validation": (both, 20)}
    [line] = constant_labels.notes(["a", "b"], apart)
    assert "of the validation split has the label a;" in line
    assert constant_labels.notes(["a"], {"train": (np.array([18]), 20)}) == []


def test_a_long_list_is_cut():
    line = constant_labels.note(
        [f"l{i}" for i in range(12)], splits=["train"], is_all=True
    )
    assert "12 labels: l0, l1" in line and "l9, ...;" in line and "l10" not in line


RESULTS = {"split": "validation", "num_labels": 40, "labels_without_positives": 0}


@pytest.mark.parametrize(
    ("changed", "parts"),
    [
        ({}, []),
        ({"labels_in_nearly_all_examples": []}, []),
        ({"labels_in_nearly_all_examples": ["a"]}, ["its part of mAP"]),
        (
            {"labels_in_nearly_all_examples": ["a"], "labels_without_positives": 39},
            ["mAP, CF1 and OF1 mean nothing", "no picture of the validation split: 39"],
        ),
        ({"num_labels": 3}, ["top-3 is all labels here (3)"]),
        (
            {"num_labels": 1, "labels_in_nearly_all_examples": ["a"]},
            ["mAP, CF1 and OF1 mean nothing", "top-3 is all labels here (1)"],
        ),
    ],
)
def test_notes_on_an_evaluation(changed, parts):
    found = notes.notes(RESULTS | changed)
    assert len(found) == len(parts)
    for line, part in zip(found, parts, strict=True):
        assert part in line
    rows = {"a": RESULTS | changed, "b": {"seeds": {"0": RESULTS | changed}}}
    text = notes.format_notes(rows)
    assert text.splitlines() == [f"note: {line}" for line in found]
