"""Sums over the edges of a label graph and their gradient, as the head takes them."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from mlgcn_jax.doctor.numbers import block
from mlgcn_jax.graph import label_graph, statistics
from mlgcn_jax.models import graph_convolution


def blocks() -> list[block.Block]:
    """Returns the sums on a small graph."""
    return [sums(num_labels=40, num_features=24)]


def sums(*, num_labels: int, num_features: int) -> block.Block:
    """Returns the sums over the edges of `make_graph`, and their gradient."""
    graph = make_graph(num_labels)
    rng = np.random.default_rng(1)
    nodes, d_sums = rng.standard_normal((2, num_labels, num_features), np.float32)
    dense = np.zeros((num_labels, num_labels))
    dense[graph.receivers, graph.senders] = graph.edge_weights
    return block.Block(
        "sums over edges",
        forward_and_backward,
        (nodes, graph, d_sums),
        (dense @ nodes, dense.T @ d_sums),
        "product",
    )


def forward_and_backward(
    nodes: jax.Array, graph: label_graph.LabelGraph, d_sums: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns the sums over edges `[l c]`, and the gradient of the nodes."""

    def aggregate(nodes):
        return graph_convolution.aggregate(nodes, graph)

    sums, pull_back = jax.vjp(aggregate, nodes)
    return sums, *pull_back(d_sums)


def scatter_add(
    nodes: jax.Array, graph: label_graph.LabelGraph, d_sums: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns the same by scatters, which add with atomics on a GPU."""

    def aggregate(nodes):
        messages = jnp.asarray(graph.edge_weights)[:, None] * nodes[graph.senders]
        return jax.ops.segment_sum(messages, graph.receivers, nodes.shape[0])

    sums, pull_back = jax.vjp(aggregate, nodes)
    return sums, *pull_back(d_sums)


def make_graph(num_labels: int) -> label_graph.LabelGraph:
    """Returns a graph of some twenty edges a label, and a label that joins all."""
    rng = np.random.default_rng(0)
    near = scipy.sparse.random_array(
        (num_labels, num_labels), density=min(0.2, 10 / num_labels), rng=rng
    ).tolil()
    near[0] = 1  # many edges that meet in one row are what scatters are slow at
    joint = (near + near.T).tocsr()
    joint.setdiag(0)
    joint.eliminate_zeros()
    joint.data[:] = rng.integers(1, 50, len(joint.data))
    joint = scipy.sparse.csr_array(joint.maximum(joint.T).astype(np.int64))
    counts = np.asarray(joint.sum(axis=1)).reshape(-1).astype(np.int64)
    counted = statistics.LabelStatistics(int(counts.sum()), counts, joint)
    return label_graph.build_label_graph(counted, gamma=1e-9, p=0.2, variant="paper")
