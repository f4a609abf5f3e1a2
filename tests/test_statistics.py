import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlgcn_jax.graph import label_graph, statistics

NUM_LABELS = 5
EXAMPLES = st.lists(st.lists(st.integers(0, NUM_LABELS - 1), max_size=6), max_size=12)


def test_three_labels_by_hand():
    counted = statistics.count_labels([[0, 1], [1, 0, 0], [1], [], [1, 2]], 3)
    assert counted.num_examples == 5
    np.testing.assert_array_equal(counted.counts, [2, 4, 1])
    np.testing.assert_array_equal(
        counted.cooccurrences.toarray(), [[0, 2, 0], [2, 0, 1], [0, 1, 0]]
    )
    np.testing.assert_array_equal(
        statistics.conditional_probabilities(counted).toarray(),
        [[0, 1, 0], [0.5, 0, 0.25], [0, 1, 0]],
    )


@settings(deadline=None, max_examples=50)
@given(EXAMPLES)
def test_counts_are_those_of_a_loop(examples: list[list[int]]):
    counts = np.zeros(NUM_LABELS, int)
    pairs = np.zeros((NUM_LABELS, NUM_LABELS), int)
    for example in examples:
        for i in set(example):
            counts[i] += 1
        for i, j in itertools.permutations(set(example), 2):
            pairs[i, j] += 1
    counted = statistics.count_labels((np.array(e, int) for e in examples), NUM_LABELS)
    assert counted.num_examples == len(examples)
    np.testing.assert_array_equal(counted.counts, counts)
    np.testing.assert_array_equal(counted.cooccurrences.toarray(), pairs)
    probabilities = statistics.conditional_probabilities(counted).toarray()
    np.testing.assert_array_equal(probabilities, pairs / np.maximum(counts, 1)[:, None])


@pytest.mark.parametrize("wrong", [3, -1])
def test_index_out_of_range_is_named(wrong: int):
    with pytest.raises(
        ValueError, match=rf"example 2 has label index {wrong}; .* 0 to 2"
    ):
        statistics.count_labels([[0], [], [1, wrong]], 3)


def test_no_labels_are_refused():
    with pytest.raises(ValueError, match="num_labels=0"):
        statistics.count_labels([], 0)


def test_hundred_thousand_labels_stay_sparse():
    num_labels, num_examples = 100_000, 30_000
    rng = np.random.default_rng(0)
    examples = rng.integers(0, num_labels, size=(num_examples, 10))
    tracemalloc.start()
    counted = statistics.count_labels(examples, num_labels)
    graph = label_graph.build_label_graph(counted, gamma=0.002, p=0.2, variant="paper")
    text = label_graph.summarize(graph, counted, [str(i) for i in range(num_labels)])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert counted.counts.sum() > 299_000  # all but the few labels drawn twice at once
    assert counted.cooccurrences.nnz > 2_500_000
    assert "100,000 labels, 30,000 examples" in text
    assert peak < num_labels**2 / 20  # bytes; a dense matrix of bits would take l^2 / 8
