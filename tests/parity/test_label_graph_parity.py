"""`graph.variant=reference_code` beside what ML-GCN computes, written out densely.

From counts to classifiers; `test_label_graph.py` has the single entries.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from mlgcn_jax.graph import label_graph, statistics
from mlgcn_jax.models.heads import gcn

P = 0.25  # a constant there
# One layer widens and one narrows: ours multiplies in another order for each.
EMBEDDING_DIM, HIDDEN_FEATURES, NUM_FEATURES = 5, 8, 6


def gen_a(pairs: np.ndarray, counts: np.ndarray, threshold: float) -> torch.Tensor:
    """A' of counts of pairs `[l, l]`, diagonal 0, and of labels `[l]`."""
    with np.errstate(invalid="ignore"):  # 0 / 0 where a label never occurs
        a = torch.from_numpy(pairs / counts[:, None])
    a = torch.where(a < threshold, 0.0, torch.where(a >= threshold, 1.0, a))
    return a * P / (a.sum(0, keepdim=True) + 1e-6) + torch.eye(len(counts))


def gen_adj(a: torch.Tensor) -> torch.Tensor:
    """A_hat."""
    d = torch.diag(a.sum(1) ** -0.5)
    return (a @ d).T @ d


def classifiers(
    adjacency: torch.Tensor, nodes: torch.Tensor, w1: torch.Tensor, w2: torch.Tensor
) -> torch.Tensor:
    """W of Eq. 4: two graph convolutions, LeakyReLU between them."""
    hidden = torch.nn.functional.leaky_relu(adjacency @ (nodes @ w1), 0.2)
    return adjacency @ (hidden @ w2)


def random_examples(seed: int) -> tuple[list[list[int]], int]:
    """Two hundred images; every label occurs, some in most of them."""
    rng = np.random.default_rng(seed)
    num_labels = int(rng.integers(2, 40))
    labels = rng.random((200, num_labels)) < rng.beta(0.5, 3, num_labels)
    labels[rng.integers(0, 200, num_labels), np.arange(num_labels)] = True
    return [np.flatnonzero(row).tolist() for row in labels], num_labels


CASES = {f"random {seed}": random_examples(seed) for seed in range(8)} | {
    "one label": ([[0], [0]], 1),
    "labels that are never together": ([[0], [1], [2]], 3),
    "labels that are always together": ([[0, 1, 2]] * 3, 3),
    "one label beside all others": ([[0, 1], [0, 2], [0, 3], [0, 3]], 4),
    "images without labels": ([[], [0, 1], []], 2),
}


def to_dense(graph: label_graph.LabelGraph, num_labels: int) -> np.ndarray:
    dense = np.zeros((num_labels, num_labels), np.float32)
    np.add.at(dense, (graph.receivers, graph.senders), graph.edge_weights)
    return dense


def build(counted: statistics.LabelStatistics, gamma: float, nodes=None):
    return label_graph.build_label_graph(
        counted, nodes, gamma=gamma, p=P, variant="reference_code"
    )


@pytest.mark.parametrize("gamma", [0.002, 0.05, 0.4, 1.0])
@pytest.mark.parametrize("name", CASES)
def test_the_adjacency_is_that_of_mlgcn(name, gamma):
    examples, num_labels = CASES[name]
    counted = statistics.count_labels(examples, num_labels)
    adjacency = gen_adj(gen_a(counted.cooccurrences.toarray(), counted.counts, gamma))
    found = to_dense(build(counted, gamma), num_labels)
    np.testing.assert_allclose(found, adjacency, rtol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_the_classifiers_are_those_of_mlgcn(name):
    examples, num_labels = CASES[name]
    counted = statistics.count_labels(examples, num_labels)
    rng = np.random.default_rng(0)
    nodes = rng.standard_normal((num_labels, EMBEDDING_DIM)).astype(np.float32)
    head = gcn.GCNHead(
        num_labels,
        NUM_FEATURES,
        embedding="file",
        embedding_dim=EMBEDDING_DIM,
        hidden_features=HIDDEN_FEATURES,
        pooling="max",
        rngs=nnx.Rngs(0),
    )
    graph = jax.tree.map(jnp.asarray, build(counted, 0.05, nodes))
    found = head(graph).weights

    adjacency = gen_adj(gen_a(counted.cooccurrences.toarray(), counted.counts, 0.05))
    w1, w2 = (
        torch.from_numpy(np.array(layer.kernel[...])).double()
        for layer in (head.gc1, head.gc2)
    )
    expected = classifiers(adjacency, torch.from_numpy(nodes).double(), w1, w2)
    scale = float(expected.abs().max())
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=1e-5)


def test_the_random_cases_have_edges_that_the_threshold_leaves_and_takes():
    shares = []
    for seed in range(8):
        examples, num_labels = random_examples(seed)
        counted = statistics.count_labels(examples, num_labels)
        all_, some = (len(build(counted, gamma).senders) for gamma in (1e-9, 0.4))
        shares.append((some - num_labels) / (all_ - num_labels))
    assert 0 < min(shares) and max(shares) < 1


def test_a_label_that_never_occurs_stands_alone_where_mlgcn_has_no_graph():
    """0 / 0 spoils its whole matrix; ours is that of the other labels, and a one."""
    counted = statistics.count_labels([[0, 1], [0, 1], [1, 3], [3]], 4)
    pairs, kept = counted.cooccurrences.toarray(), [0, 1, 3]
    assert gen_adj(gen_a(pairs, counted.counts, 0.4)).isnan().all()
    others = gen_adj(gen_a(pairs[np.ix_(kept, kept)], counted.counts[kept], 0.4))
    expected = np.eye(4)
    expected[np.ix_(kept, kept)] = others
    np.testing.assert_allclose(to_dense(build(counted, 0.4), 4), expected, rtol=1e-6)
