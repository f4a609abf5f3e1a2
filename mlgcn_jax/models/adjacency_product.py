"""A_hat @ nodes from the edges of a label graph, without a sum by scatter.

On a GPU `segment_sum`, and the gradient of the gather before it, add floats with
atomics: in another order each time, so that a step has other bits when it is repeated,
and at a speed that depends on the release (a compare-and-swap loop in some). They also
write a message of all features for each edge. Here a sum has one order, messages are
never written out, and products and gathers are all that adds or moves floats.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Shaped

from mlgcn_jax.graph import label_graph

# Measured on a CPU: at 2,000 labels the dense product takes as long as 0.3 M edges.
_DENSE_CELLS_PER_EDGE = 16
_DENSE_LABELS = 128  # a graph so small is dense whatever its edges
_LONGEST_ROW = 32  # edges that are added up at once
_BLOCK = 8  # rows of edges that are added up at once
_EDGES = 2048  # whose weights' gradients are computed at once


def multiply(
    graph: label_graph.LabelGraph, nodes: Float[Array, "l c"]
) -> Float[Array, "l c"]:
    """Returns `A_hat @ nodes`; edges that join the same labels add up.

    By a dense product where the graph is small or has many of the possible edges. Has
    gradients of the nodes and of the edges' weights.
    """
    num_labels, num_edges = nodes.shape[0], graph.senders.shape[0]
    weights = jnp.asarray(graph.edge_weights)
    senders, receivers = jnp.asarray(graph.senders), jnp.asarray(graph.receivers)
    if num_labels**2 <= max(_DENSE_LABELS**2, _DENSE_CELLS_PER_EDGE * num_edges):
        dense = _dense(weights, senders, receivers, num_labels)
        return jnp.einsum("rs,sc->rc", dense, nodes, precision=lax.Precision.HIGHEST)
    if num_edges == 0:
        return jnp.zeros_like(nodes)
    if graph.by_sender is None:
        by_sender = jnp.argsort(senders, stable=True)
    else:
        by_sender = jnp.asarray(graph.by_sender)
    return _sparse(nodes, weights, senders, receivers, by_sender)


@jax.custom_vjp
def _sparse(
    nodes: Float[Array, "l c"],
    weights: Float[Array, " e"],
    senders: Int[Array, " e"],
    receivers: Int[Array, " e"],
    by_sender: Int[Array, " e"],
) -> Float[Array, "l c"]:
    """The product from edges that are sorted by receiver."""
    del by_sender  # for the gradient
    return _sum_by_receiver(nodes, weights, senders, receivers)


def _sparse_forward(nodes, *edges):
    return _sparse(nodes, *edges), (nodes, *edges)


def _sparse_backward(saved, d_sums):
    """Along the transposed edges; what nobody asks for is not computed under jit."""
    nodes, weights, senders, receivers, order = saved
    d_nodes = _sum_by_receiver(d_sums, weights[order], receivers[order], senders[order])

    def d_weight(edge: tuple[Array, Array]) -> Array:
        receiver, sender = edge
        return jnp.vdot(
            _take(d_sums, receiver),
            _take(nodes, sender),
            precision=lax.Precision.HIGHEST,
        )

    d_weights = lax.map(d_weight, (receivers, senders), batch_size=_EDGES)
    return (
        d_nodes.astype(nodes.dtype),
        d_weights.astype(weights.dtype),
        None,
        None,
        None,
    )


_sparse.defvjp(_sparse_forward, _sparse_backward)


def _sum_by_receiver(
    nodes: Float[Array, "l c"],
    weights: Float[Array, " e"],
    senders: Int[Array, " e"],
    receivers: Int[Array, " e"],
) -> Float[Array, "l c"]:
    """A label's edges in rows, each of one label, the last one padded.

    Rows are summed up in one pass over the nodes, then those of each label. They are
    about twice as long as labels have edges on average: short ones would be many, and
    long ones mostly padding, which every device holds for all labels.
    """
    num_labels, num_edges = nodes.shape[0], weights.shape[0]
    length = min(max(8, 1 << (num_edges // num_labels).bit_length()), _LONGEST_ROW)
    start = jnp.searchsorted(receivers, jnp.arange(num_labels + 1, dtype=jnp.int32))
    start, end = start[:-1], start[1:]  # of each label's edges
    num_rows = jnp.maximum(1, -(-(end - start) // length))
    rows_end = jnp.cumsum(num_rows)
    # As many as there may be: shapes do not depend on which edges there are.
    row = jnp.arange(num_edges // length + num_labels, dtype=jnp.int32)
    label = jnp.searchsorted(rows_end, row, side="right")
    label = jnp.minimum(label, num_labels - 1)
    first = start[label] + (row - (rows_end - num_rows)[label]) * length
    end = end[label]

    def message(k: int) -> Float[Array, "r c"]:
        # Padding repeats a node that the row reads anyway, with no weight.
        edge = jnp.clip(first + k, 0, jnp.maximum(end - 1, 0))
        weight = jnp.where(first + k < end, _take(weights, edge), 0)
        return weight[:, None] * _take(nodes, _take(senders, edge))

    # Written out they are one loop, which keeps no message and no table of edges; a sum
    # over an axis would keep both.
    sums = message(0)
    for k in range(1, length):
        sums += message(k)
    return _take(_running_sums(sums, label), rows_end - 1)


def _running_sums(
    x: Float[Array, "r c"], label: Int[Array, " r"]
) -> Float[Array, "r c"]:
    """For each row the sum of those of its label, up to it; labels are sorted.

    Never the difference of two sums, which would lose digits.
    """
    num_rows, c = x.shape
    size = min(num_rows, _BLOCK)
    padding = -num_rows % size
    x = jnp.pad(x, ((0, padding), (0, 0))).reshape(-1, size, c)
    label = jnp.pad(label, (0, padding), mode="edge").reshape(-1, size)
    is_added = jnp.tril(label[:, :, None] == label[:, None, :])
    sums = jnp.einsum(
        "bij,bjc->bic", is_added.astype(x.dtype), x, precision=lax.Precision.HIGHEST
    )
    if len(x) > 1:
        before = _running_sums(sums[:-1, -1], label[:-1, -1])
        goes_on = label[1:] == label[:-1, -1:]
        before = jnp.where(goes_on[:, :, None], before[:, None, :], 0)
        sums += jnp.pad(before, ((1, 0), (0, 0), (0, 0)))
    return sums.reshape(-1, c)[:num_rows]


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _dense(
    weights: Float[Array, " e"],
    senders: Int[Array, " e"],
    receivers: Int[Array, " e"],
    num_labels: int,
) -> Float[Array, "l l"]:
    """A_hat itself.

    Each cell looks up its edge, for which integers are scattered: those have one least,
    whatever the order. Edges that share a cell follow one at a time.
    """
    no_edge = len(weights)
    edge = jnp.arange(no_edge, dtype=jnp.int32)
    weights = jnp.pad(weights, (0, 1))
    cells = jnp.full((num_labels, num_labels), no_edge, jnp.int32)

    def add(state):
        dense, is_left = state
        found = cells.at[receivers, senders].min(jnp.where(is_left, edge, no_edge))
        is_left &= found[receivers, senders] != edge
        return dense + _take(weights, found), is_left

    nothing = jnp.zeros_like(cells, weights.dtype), jnp.full(no_edge, True)
    dense, _ = lax.while_loop(lambda state: state[1].any(), add, nothing)
    return dense


def _dense_forward(weights, senders, receivers, num_labels):
    return _dense(weights, senders, receivers, num_labels), (senders, receivers)


def _dense_backward(num_labels, saved, d_dense):
    del num_labels
    senders, receivers = saved
    return d_dense[receivers, senders], None, None


_dense.defvjp(_dense_forward, _dense_backward)


def _take(x: Shaped[Array, "..."], index: Int[Array, "..."]) -> Shaped[Array, "..."]:
    return x.at[index].get(mode="promise_in_bounds")
