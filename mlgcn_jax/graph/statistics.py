"""How often labels occur, alone and together: counts, sparse from end to end.

One pass over the label indices of a split fills a sparse matrix Y `[n, l]` with a one
where an example has a label. `Y^T Y` then holds every count; no `[l, l]` array is made.
"""

import array
import operator
from collections.abc import Iterable
from typing import NamedTuple, SupportsIndex

import numpy as np
import scipy.sparse
from jaxtyping import Int64


class LabelStatistics(NamedTuple):
    """Counts over the examples of a split.

    Attributes:
        num_examples: n, with those that have no label.
        counts: N_i, number of examples that have label i.
        cooccurrences: `[l, l]` int64, N_ij, number of examples that have labels i and
            j; the diagonal is empty.
    """

    num_examples: int
    counts: Int64[np.ndarray, " l"]
    cooccurrences: scipy.sparse.csr_array


def count_labels(
    label_indices: Iterable[Iterable[SupportsIndex]], num_labels: int
) -> LabelStatistics:
    """Returns the counts over examples; a label counts once in an example.

    Args:
        label_indices: for every example its labels, each in `[0, num_labels)`.
        num_labels: l.

    Raises:
        ValueError: a label index is out of range, or there are no labels at all.
    """
    if num_labels < 1:
        raise ValueError(f"num_labels={num_labels}; a label graph needs at least one")
    indices = array.array("q")  # eight bytes a label, where a list would take over 40
    example_ends = array.array("q", [0])
    for example in label_indices:
        indices.extend(sorted({operator.index(label) for label in example}))
        example_ends.append(len(indices))
    columns = np.frombuffer(indices, dtype=np.int64)
    row_ends = np.frombuffer(example_ends, dtype=np.int64)
    _check_range(columns, row_ends, num_labels)

    num_examples = len(row_ends) - 1
    occurrences = scipy.sparse.csr_array(
        (np.ones(len(columns), np.int64), columns, row_ends),
        shape=(num_examples, num_labels),
    )
    return LabelStatistics(
        num_examples=num_examples,
        counts=np.bincount(columns, minlength=num_labels).astype(np.int64),
        cooccurrences=_without_diagonal((occurrences.T @ occurrences).tocsr()),
    )


def conditional_probabilities(counted: LabelStatistics) -> scipy.sparse.csr_array:
    """Returns `P_ij = P(L_j | L_i) = N_ij / N_i`, `[l, l]` float64, diagonal empty.

    The row of a label that never occurs is empty.
    """
    pairs = counted.cooccurrences.tocoo()
    probabilities = pairs.data / counted.counts[pairs.row]
    return scipy.sparse.csr_array(
        (probabilities, (pairs.row, pairs.col)), shape=pairs.shape
    )


def _check_range(
    columns: Int64[np.ndarray, " k"], row_ends: Int64[np.ndarray, " m"], num_labels: int
) -> None:
    wrong = np.flatnonzero((columns < 0) | (columns >= num_labels))
    if len(wrong):
        example = np.searchsorted(row_ends, wrong[0], side="right") - 1
        raise ValueError(
            f"example {example} has label index {columns[wrong[0]]}; expected one from "
            f"0 to {num_labels - 1}: was it built with another vocabulary?"
        )


def _without_diagonal(matrix: scipy.sparse.csr_array) -> scipy.sparse.csr_array:
    pairs = matrix.tocoo()
    off = pairs.row != pairs.col
    rest = scipy.sparse.csr_array(
        (pairs.data[off], (pairs.row[off], pairs.col[off])), shape=pairs.shape
    )
    rest.sum_duplicates()  # sorts as well: equal counts are then stored alike
    return rest
