"""Label statistics -> sparse, directed, weighted graph over labels, and its file."""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse
from jaxtyping import Array, Float32, Int32

from mlgcn_jax.data import files, npz_files
from mlgcn_jax.graph import statistics

# What a file holds: dimensions (l labels, k pairs, e edges) and type of each array.
_ARRAYS = {
    "num_examples": ("", np.int64),
    "counts": ("l", np.int64),
    "pair_rows": ("k", np.int32),
    "pair_columns": ("k", np.int32),
    "pair_counts": ("k", np.int64),
    "senders": ("e", np.int32),
    "receivers": ("e", np.int32),
    "edge_weights": ("e", np.float32),
    "embeddings": ("lv", np.float32),  # v = 0 where the head makes them
}
_SHOWN = 10  # pairs or names in the summary, of each kind


class LabelGraph(NamedTuple):
    """A_hat `[l, l]` as its edges: a pytree of NumPy or JAX arrays.

    The edge sender j -> receiver i weighs `A_hat[i, j]`, so that one step of Eq. 2 is
    `H'_i = sum_j A_hat[i, j] H_j`. Sorted by receiver, then sender; every label has an
    edge to itself.

    Attributes:
        senders: label j of each edge.
        receivers: label i of each edge.
        edge_weights: `A_hat[i, j]`.
        embeddings: label embeddings Z, or None where the head makes them.
        by_sender: the edges in the order of their senders, which the gradient goes
            along; None: each program sorts them for itself.
    """

    senders: Int32[np.ndarray | Array, " e"]
    receivers: Int32[np.ndarray | Array, " e"]
    edge_weights: Float32[np.ndarray | Array, " e"]
    embeddings: Float32[np.ndarray | Array, "l v"] | None
    by_sender: Int32[np.ndarray | Array, " e"] | None = None


def build_label_graph(
    counted: statistics.LabelStatistics,
    embeddings: Float32[np.ndarray, "l v"] | None = None,
    *,
    gamma: float,
    p: float,
    variant: str,
) -> LabelGraph:
    """Returns the label graph: Eq. 6, Eq. 7 and the normalisation of Eq. 2.

    Args:
        counted: counts of the training split.
        embeddings: Z, one row a label; None where the head makes them.
        gamma: least `P(L_j | L_i)` of an edge, in (0, 1]; Eq. 6.
        p: share of a label's neighbours in it, in [0, 1); Eq. 7.
        variant: `paper`, or `reference_code`: what the code of ML-GCN computes.

    Raises:
        ValueError: an argument is out of range, or embeddings and counts disagree.
    """
    num_labels = len(counted.counts)
    if not 0 < gamma <= 1:
        raise ValueError(f"gamma={gamma}; expected a threshold in (0, 1]")
    if not 0 <= p < 1:
        raise ValueError(f"p={p}; expected a share in [0, 1)")
    if variant not in _VARIANTS:
        raise ValueError(f"variant={variant!r}; expected one of {', '.join(_VARIANTS)}")
    if embeddings is not None and len(embeddings) != num_labels:
        raise ValueError(f"{len(embeddings)} embeddings for {num_labels} labels")

    probabilities = statistics.conditional_probabilities(counted).tocoo()
    kept = probabilities.data >= gamma  # Eq. 6
    adjacency = scipy.sparse.csr_array(
        (np.ones(kept.sum()), (probabilities.row[kept], probabilities.col[kept])),
        shape=(num_labels, num_labels),
    )
    normalised = _VARIANTS[variant](adjacency, p)
    normalised.sort_indices()
    edges = normalised.tocoo()
    senders = edges.col.astype(np.int32)
    return LabelGraph(
        senders=senders,
        receivers=edges.row.astype(np.int32),
        edge_weights=edges.data.astype(np.float32),
        embeddings=embeddings,
        by_sender=_order(senders),
    )


def _order(senders: Int32[np.ndarray, " e"]) -> Int32[np.ndarray, " e"]:
    return np.argsort(senders, kind="stable").astype(np.int32)


def _paper(adjacency: scipy.sparse.csr_array, p: float) -> scipy.sparse.csr_array:
    """`D^-1/2 A' D^-1/2` with the A' of Eq. 7 and its row sums D.

    Differs from the print, whose off-diagonal lacks the factor A_ij. Rows of A' with a
    neighbour sum to 1, the others to 1 - p.
    """
    num_neighbours = adjacency.sum(axis=1)
    share = p / np.maximum(num_neighbours, 1)
    reweighted = scipy.sparse.diags_array(share) @ adjacency
    reweighted = reweighted + (1 - p) * scipy.sparse.eye_array(len(share))
    scale = scipy.sparse.diags_array(reweighted.sum(axis=1) ** -0.5)
    return (scale @ reweighted @ scale).tocsr()


def _reference_code(
    adjacency: scipy.sparse.csr_array, p: float
) -> scipy.sparse.csr_array:
    """`gen_adj(gen_A())` of ML-GCN's util.py.

    Differs from its paper: shares are of *column* sums, the diagonal is 1, and
    `(A' D)^T D` passes messages along the transposed edges. Its p is 0.25.
    """
    share = p / (adjacency.sum(axis=0) + 1e-6)
    reweighted = adjacency @ scipy.sparse.diags_array(share)
    reweighted = reweighted + scipy.sparse.eye_array(len(share))
    scale = scipy.sparse.diags_array(reweighted.sum(axis=1) ** -0.5)
    return ((reweighted @ scale).T @ scale).tocsr()


_VARIANTS = {"paper": _paper, "reference_code": _reference_code}


def save_label_graph(
    path: pathlib.Path, graph: LabelGraph, counted: statistics.LabelStatistics
) -> None:
    """Writes graph and counts as an .npz; the same input gives the same bytes."""
    pairs = counted.cooccurrences.tocoo()
    arrays = {
        "num_examples": np.int64(counted.num_examples),
        "counts": counted.counts,
        "pair_rows": pairs.row.astype(np.int32),
        "pair_columns": pairs.col.astype(np.int32),
        "pair_counts": pairs.data,
        "senders": graph.senders,
        "receivers": graph.receivers,
        "edge_weights": graph.edge_weights,
        # Never left out, so that a damaged file cannot pass for one without them.
        "embeddings": np.zeros((len(counted.counts), 0), np.float32)
        if graph.embeddings is None
        else graph.embeddings,
    }
    with files.written_whole(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_label_graph(
    path: pathlib.Path,
) -> tuple[LabelGraph, statistics.LabelStatistics]:
    """Returns what `save_label_graph` wrote.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged, or something else.
    """
    try:
        arrays = npz_files.read(path)
    except ValueError as error:
        raise ValueError(f"{error}; make it anew") from error
    fault = _find_fault(arrays)
    if fault:
        raise ValueError(f"{path} is no label graph: {fault}; make it anew")
    num_labels = len(arrays["counts"])
    cooccurrences = scipy.sparse.csr_array(
        (arrays["pair_counts"], (arrays["pair_rows"], arrays["pair_columns"])),
        shape=(num_labels, num_labels),
    )
    graph = LabelGraph(
        arrays["senders"],
        arrays["receivers"],
        arrays["edge_weights"],
        arrays["embeddings"] if arrays["embeddings"].size else None,
        _order(arrays["senders"]),
    )
    counted = statistics.LabelStatistics(
        int(arrays["num_examples"]), arrays["counts"], cooccurrences
    )
    return graph, counted


def _find_fault(arrays: dict[str, np.ndarray]) -> str:
    """What makes the arrays of a file no label graph; empty where nothing does."""
    sizes: dict[str, int] = {}  # of each dimension, as the first array with it has it
    for name, (dimensions, dtype) in _ARRAYS.items():
        if name not in arrays:
            return f"it lacks {name}"
        found = arrays[name]
        shape = tuple(map(sizes.setdefault, dimensions, found.shape))
        if (
            len(dimensions) != found.ndim
            or shape != found.shape
            or found.dtype != dtype
        ):
            return f"{name} is {found.dtype}{found.shape}, which does not fit the rest"
    num_labels = arrays["counts"].size
    for name in ("pair_rows", "pair_columns", "senders", "receivers"):
        indices = arrays[name]
        if indices.size and not 0 <= indices.min() <= indices.max() < num_labels:
            return f"{name} points at labels beyond its {num_labels}"
    if (np.diff(arrays["receivers"]) < 0).any():
        return "receivers are not sorted"
    if not np.isfinite(arrays["edge_weights"]).all():
        return "edge_weights are not finite"
    return ""


def summarize(
    graph: LabelGraph, counted: statistics.LabelStatistics, labels: Sequence[str]
) -> str:
    """Returns what one wants to know of a label graph, as lines of text.

    Raises:
        ValueError: the graph is of other labels.
    """
    num_labels = len(counted.counts)
    if len(labels) != num_labels:
        raise ValueError(f"{len(labels)} names for the {num_labels} labels of a graph")
    between = graph.senders != graph.receivers
    num_edges = np.count_nonzero(between)
    density = num_edges / max(num_labels * (num_labels - 1), 1)
    linked = np.union1d(graph.senders[between], graph.receivers[between])
    isolated = np.setdiff1d(np.arange(num_labels), linked)
    lines = [
        f"{num_labels:,} labels, {counted.num_examples:,} examples",
        f"{num_edges:,} edges between labels, density {density:.3g}",
        f"isolated labels: {_names(isolated, labels)}",
        f"labels without images: {_names(np.flatnonzero(counted.counts == 0), labels)}",
    ]
    pairs = statistics.conditional_probabilities(counted).tocoo()
    # Where P is equal, the pair of the label with more images was seen more often.
    order = np.lexsort((-counted.counts[pairs.row], np.negative(pairs.data)))[:_SHOWN]
    lines.append("strongest pairs: P(second | first), images with both")
    for i, j, probability in zip(
        pairs.row[order], pairs.col[order], pairs.data[order], strict=True
    ):
        count = counted.cooccurrences[i, j]
        lines.append(f"  {probability:.3f} {count:9,}  {labels[i]} -> {labels[j]}")
    return "\n".join(lines)


def _names(indices: np.ndarray, labels: Sequence[str]) -> str:
    shown = [labels[int(i)] for i in indices[:_SHOWN]]
    if len(indices) > len(shown):
        shown.append("...")
    return f"{len(indices):,}" + (f" ({', '.join(shown)})" if shown else "")
