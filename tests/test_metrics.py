import inspect
import json
from collections.abc import Callable

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from mlgcn_jax.evaluation import metrics

# Four examples, four labels; nobody has the last label.
SCORES = np.array(
    [
        [0.9, 0.6, 0.1, 0.2],
        [0.8, 0.4, 0.7, 0.6],
        [0.3, 0.7, 0.2, 0.1],
        [0.6, 0.2, 0.4, 0.3],
    ]
)
LABELS = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [1, 0, 0, 0], [1, 0, 1, 0]], bool)
SIX = ("CP", "CR", "CF1", "OP", "OR", "OF1")


def random_case(seed: int, n: int, l: int, *, levels: int):  # noqa: E741
    """Scores with many ties; labels that nobody or everybody has; negatives."""
    rng = np.random.default_rng(seed)
    scores = (rng.integers(0, levels, size=(n, l)) / (levels - 1)).astype(np.float32)
    labels = rng.random((n, l)) < rng.choice([0.0, 0.3, 0.7, 1.0], size=l)
    labels[rng.random(n) < rng.choice([0.0, 0.5, 1.0])] = False
    return scores, labels


CASES = st.builds(
    random_case,
    st.integers(0, 10**6),
    st.integers(1, 12),
    st.integers(1, 7),
    levels=st.sampled_from([2, 5, 1000]),
)
PROPERTY = settings(deadline=None, max_examples=60)


def test_average_precision_by_hand():
    # Label 0, from high to low: right, wrong, right, right. Label 1: 0.7 wrong, then
    # two right. Label 2: both right first.
    expected = [(1 + 2 / 3 + 3 / 4) / 3, (1 / 2 + 2 / 3) / 2, 1.0, np.nan]
    np.testing.assert_allclose(metrics.average_precision(SCORES, LABELS), expected)


def test_metrics_by_hand():
    computed = metrics.compute_metrics(SCORES, LABELS)
    assert computed["mAP"] == pytest.approx((29 / 36 + 7 / 12 + 1) / 3)
    # At 0.5: label 0 predicted 3 times, 2 right of 3; label 1 twice, 1 right of 2;
    # label 2 once, 1 right of 2; label 3 once, wrong.
    cp, cr = (2 / 3 + 1 / 2 + 1) / 3, (2 / 3 + 1 / 2 + 1 / 2) / 3
    all_ = [cp, cr, 2 * cp * cr / (cp + cr), 4 / 7, 4 / 7, 4 / 7]
    assert [computed[key] for key in SIX] == pytest.approx(all_)
    # Top-3 leaves out labels 2, 1, 3 and 1 of the examples, one each.
    cp, cr = (3 / 4 + 1 / 2 + 2 / 3) / 3, (1 + 1 / 2 + 1) / 3
    top3 = [cp, cr, 2 * cp * cr / (cp + cr), 6 / 12, 6 / 7, 12 / 19]
    assert [computed["top3"][key] for key in SIX] == pytest.approx(top3)
    # No example has four scores of 0.5, so that the top three leave none of them out.
    assert [computed["top3_thresholded"][key] for key in SIX] == pytest.approx(all_)
    assert computed["num_examples"] == 4
    assert computed["num_labels"] == 4
    assert computed["labels_without_positives"] == 1


@PROPERTY
@given(CASES)
def test_average_precision_is_that_of_sklearn(case):
    scores, labels = case
    ap = metrics.average_precision(scores, labels)
    for i in range(labels.shape[1]):
        if labels[:, i].any():
            expected = sklearn.metrics.average_precision_score(
                labels[:, i], scores[:, i]
            )
            assert ap[i] == pytest.approx(expected, abs=1e-12)
        else:
            assert np.isnan(ap[i])


def brute_force(predict: Callable[[list[float], int], bool], scores, labels):
    """CP ... OF1 by loops over examples and labels."""
    n, l = labels.shape  # noqa: E741
    precisions, recalls, right, said, there = [], [], 0, 0, 0
    for i in range(l):
        predicted = {e for e in range(n) if predict(list(scores[e]), i)}
        have = {e for e in range(n) if labels[e, i]}
        hits = len(predicted & have)
        right, said, there = right + hits, said + len(predicted), there + len(have)
        if have:
            precisions.append(hits / len(predicted) if predicted else 0.0)
            recalls.append(hits / len(have))
    cp, cr = (sum(x) / len(x) if x else 0.0 for x in (precisions, recalls))
    op, or_ = right / said if said else 0.0, right / there if there else 0.0
    cf1, of1 = (2 * a * b / (a + b) if a + b else 0.0 for a, b in ((cp, cr), (op, or_)))
    return dict(zip(SIX, (cp, cr, cf1, op, or_, of1), strict=True))


def confident(row: list[float], i: int) -> bool:
    return row[i] >= 0.5


def among_three(row: list[float], i: int) -> bool:
    return i in sorted(range(len(row)), key=lambda j: (-row[j], j))[:3]


@PROPERTY
@given(CASES)
def test_precision_and_recall_are_those_of_a_loop(case):
    scores, labels = case
    before = scores.copy()
    computed = metrics.compute_metrics(scores, labels)
    np.testing.assert_array_equal(scores, before)
    both = lambda row, i: confident(row, i) and among_three(row, i)  # noqa: E731
    all_ = {key: computed[key] for key in SIX}
    assert all_ == pytest.approx(brute_force(confident, scores, labels))
    assert computed["top3"] == pytest.approx(brute_force(among_three, scores, labels))
    assert computed["top3_thresholded"] == pytest.approx(
        brute_force(both, scores, labels)
    )


@PROPERTY
@given(CASES)
def test_precision_and_recall_are_those_of_sklearn(case):
    scores, labels = case
    kept = labels.any(axis=0)
    if not kept.any():
        return
    computed = metrics.compute_metrics(scores, labels)
    for prefix, average, columns in (("C", "macro", kept), ("O", "micro", ...)):
        # Two columns at least: sklearn takes a single one for another kind of problem.
        truth, predicted = (
            np.concatenate([part[:, columns], part[:, columns]], axis=1)
            for part in (labels, scores >= 0.5)
        )
        precision, recall, _, _ = sklearn.metrics.precision_recall_fscore_support(
            truth, predicted, average=average, zero_division=0
        )
        assert computed[f"{prefix}P"] == pytest.approx(precision)
        assert computed[f"{prefix}R"] == pytest.approx(recall)


@PROPERTY
@given(CASES)
def test_f1_of_each_label_is_that_of_sklearn(case):
    scores, labels = case
    columns = metrics.per_label_metrics(scores, labels)
    for i in range(labels.shape[1]):
        expected = sklearn.metrics.f1_score(
            labels[:, i], scores[:, i] >= 0.5, zero_division=0
        )
        assert columns["f1"][i] == pytest.approx(expected)


def test_one_label_with_negatives_by_hand():
    # From high to low: wrong, right, wrong, wrong, right: AP (1/2 + 2/5) / 2.
    scores = np.array([[0.9], [0.8], [0.6], [0.4], [0.2]])
    labels = np.array([[0], [1], [0], [0], [1]], bool)
    computed = metrics.compute_metrics(scores, labels)
    assert computed["mAP"] == pytest.approx(0.45)
    # Three predicted, one right of two; the top 3 of one label is always that label.
    assert computed["CF1"] == computed["OF1"] == pytest.approx(2 / 5)
    assert computed["top3"]["OP"] == pytest.approx(2 / 5)
    assert computed["top3"]["OR"] == 1
    # Without the negatives nothing can be wrong but the threshold.
    alone = metrics.compute_metrics(scores[labels[:, 0]], labels[labels[:, 0]])
    assert alone["mAP"] == alone["CP"] == alone["top3"]["CF1"] == 1


@PROPERTY
@given(CASES, st.integers(0, 10**6))
def test_negatives_lower_precision_and_leave_recall(case, seed):
    scores, labels = case
    more = np.random.default_rng(seed).random((5, labels.shape[1])).astype(np.float32)
    before = metrics.compute_metrics(scores, labels)
    after = metrics.compute_metrics(
        np.concatenate([scores, more]),
        np.concatenate([labels, np.zeros_like(more, bool)]),
    )
    if before["mAP"] is not None:
        assert after["mAP"] <= before["mAP"] + 1e-12
    for part in ("top3", "top3_thresholded"):
        old, new = before[part], after[part]
        assert (new["CR"], new["OR"]) == (old["CR"], old["OR"])
        assert new["CP"] <= old["CP"] + 1e-12
        assert new["OP"] <= old["OP"] + 1e-12


@PROPERTY
@given(CASES, st.randoms(use_true_random=False))
def test_order_of_examples_changes_nothing(case, random):
    scores, labels = case
    order = random.sample(range(len(scores)), len(scores))
    computed = metrics.compute_metrics(scores, labels)
    assert flat(metrics.compute_metrics(scores[order], labels[order])) == pytest.approx(
        flat(computed)
    )


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.randoms(use_true_random=False))
def test_order_of_labels_changes_nothing(seed, random):
    rng = np.random.default_rng(seed)
    scores = rng.permuted(np.linspace(0, 1, 60)).reshape(10, 6)  # no ties for the top 3
    labels = rng.random((10, 6)) < 0.4
    order = random.sample(range(6), 6)
    computed = metrics.compute_metrics(scores, labels)
    assert flat(
        metrics.compute_metrics(scores[:, order], labels[:, order])
    ) == pytest.approx(flat(computed))


def flat(computed: dict) -> dict:
    return {
        key: -1.0 if value is None else value
        for prefix, part in (("", computed), *((k, computed[k]) for k in ("top3",)))
        for key, value in ((prefix + k, v) for k, v in part.items())
        if not isinstance(value, dict)
    }


@PROPERTY
@given(CASES)
def test_the_truth_scores_one(case):
    _, labels = case
    computed = metrics.compute_metrics(labels.astype(np.float32), labels)
    if labels.any():
        assert computed["mAP"] == computed["CF1"] == computed["OF1"] == 1
        # At most three right ones are found an image, and no wrong ones.
        assert computed["top3_thresholded"]["OP"] == 1
        assert computed["labels_without_positives"] == (~labels.any(axis=0)).sum()


def test_equal_scores_go_to_the_labels_with_the_lower_index():
    scores = np.array([[0.2, 0.7, 0.2, 0.2, 0.2]])
    labels = np.array([[True, True, True, False, False]])
    assert metrics.compute_metrics(scores, labels)["top3"]["OF1"] == 1


def test_fewer_than_three_labels():
    computed = metrics.compute_metrics(SCORES[:, :2], LABELS[:, :2])
    assert computed["top3"]["OP"] == pytest.approx(5 / 8)  # everything is predicted
    assert computed["top3"]["OR"] == 1


@pytest.mark.parametrize(
    ("scores", "labels"),
    [
        (SCORES, np.zeros((4, 4), bool)),
        (np.zeros((0, 4)), np.zeros((0, 4), bool)),
        (np.zeros((4, 0)), np.zeros((4, 0), bool)),
    ],
)
def test_nothing_positive_has_no_map(scores, labels):
    computed = metrics.compute_metrics(scores, labels)
    assert computed["mAP"] is None
    for part in (computed, computed["top3"], computed["top3_thresholded"]):
        assert [part[key] for key in SIX] == [0] * 6
    assert computed["labels_without_positives"] == labels.shape[1]


@pytest.mark.parametrize("labels", [LABELS, np.zeros((4, 4), bool)])
def test_json_holds_it(labels):
    computed = metrics.compute_metrics(SCORES.astype(np.float32), labels)
    assert json.loads(json.dumps(computed, allow_nan=False)) == computed
    assert list(computed) == [
        *("mAP", *SIX, "top3", "top3_thresholded"),
        *("num_examples", "num_labels", "labels_without_positives"),
    ]
    assert list(computed["top3"]) == list(computed["top3_thresholded"]) == [*SIX]


def test_per_label_by_hand():
    columns = metrics.per_label_metrics(SCORES, LABELS)
    expected = {
        "ap": [29 / 36, 7 / 12, 1, np.nan],
        "precision": [2 / 3, 1 / 2, 1, 0],
        "recall": [2 / 3, 1 / 2, 1 / 2, np.nan],
        "f1": [2 / 3, 1 / 2, 2 / 3, 0],
        "num_positives": [3, 2, 2, 0],
        "num_predicted": [3, 2, 1, 1],
    }
    assert list(columns) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(columns[name], values)


@pytest.mark.parametrize(
    "function",
    [metrics.compute_metrics, metrics.per_label_metrics, metrics.average_precision],
)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite(function, value):
    scores = SCORES.copy()
    scores[1, 2] = value
    with pytest.raises(ValueError, match="1 of 16 scores are not finite"):
        function(scores, LABELS)


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (SCORES[:3], LABELS, r"scores \(3, 4\) and labels \(4, 4\)"),
        (SCORES[0], LABELS[0], r"scores \(4,\) and labels \(4,\)"),
        (SCORES, LABELS.astype(np.float32), "labels are float32 and scores float64"),
        (SCORES.astype(int), LABELS, "labels are bool and scores int64"),
    ],
)
def test_arrays_that_do_not_fit(scores, labels, message):
    # Unwrapped, because the type checks of the tests would be first to complain.
    for function in (metrics.compute_metrics, metrics.per_label_metrics):
        with pytest.raises(ValueError, match=message):
            inspect.unwrap(function)(scores, labels)
