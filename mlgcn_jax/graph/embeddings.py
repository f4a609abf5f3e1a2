"""Label embeddings Z `[l, v]`, which the graph convolutions turn into classifiers."""

import pathlib
from collections.abc import Sequence

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from jaxtyping import Float32, Float64

from mlgcn_jax.data import npz_files
from mlgcn_jax.graph import statistics

KINDS = ("cooccurrence", "one_hot", "file", "learned")

_UNPLACED = 1e-3  # rows shorter than this share of the longest one are rounding noise


def label_embeddings(
    kind: str,
    counted: statistics.LabelStatistics,
    *,
    dim: int,
    path: pathlib.Path | None = None,
    labels: Sequence[str],
) -> Float32[np.ndarray, "l v"] | None:
    """Returns Z, or None where the head makes it: for `one_hot` and `learned`.

    Args:
        kind: `cooccurrence` (see `cooccurrence_embeddings`), `file` (see
            `read_embeddings`), `one_hot` or `learned`.
        counted: counts of the training split.
        dim: v.
        path: for `file`, a GloVe .txt or an .npz.
        labels: the vocabulary, l names.

    Raises:
        ValueError: the kind is unknown, `file` has no path, or the file does not fit.
    """
    if kind not in KINDS:
        raise ValueError(f"embedding={kind!r}; expected one of {', '.join(KINDS)}")
    if kind in ("one_hot", "learned"):
        return None
    if dim < 1:
        raise ValueError(f"embedding_dim={dim}; expected at least 1")
    if kind == "cooccurrence":
        return cooccurrence_embeddings(counted, dim=dim)
    if path is None:
        raise ValueError("embedding='file' needs embedding_file: a GloVe .txt or .npz")
    return read_embeddings(path, labels, dim=dim)


def cooccurrence_embeddings(
    counted: statistics.LabelStatistics, *, dim: int
) -> Float32[np.ndarray, "l v"]:
    """Returns unit vectors that lie close where labels occur together.

    They are the truncated SVD of the PPMI matrix, its left singular vectors times the
    square roots of the singular values, with rows of unit length; columns beyond the
    l-th are zero. A label that this gives no place (it never occurs, or the truncation
    leaves it out) gets a fixed random direction: with a zero row and no neighbour its
    classifier would be stuck at zero, since the head has no bias.
    """
    vectors, values = _truncated_svd(_ppmi(counted), dim)
    embeddings = np.zeros((len(counted.counts), dim))
    embeddings[:, : len(values)] = vectors * np.sqrt(values)
    lengths = np.linalg.norm(embeddings, axis=1)
    unplaced = lengths <= _UNPLACED * lengths.max()
    rng = np.random.default_rng(0)
    embeddings[unplaced] = rng.standard_normal((unplaced.sum(), dim))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings.astype(np.float32)


def read_embeddings(
    path: pathlib.Path, labels: Sequence[str], *, dim: int
) -> Float32[np.ndarray, "l v"]:
    """Returns the vectors of the labels from a file, as they stand there.

    A label that the file does not have as it is written gets the mean over its words,
    in lower case; spaces and `_` part words.

    Args:
        path: GloVe text (`word v1 v2 ...` a line), or an .npz with the arrays `labels`
            (strings) and `vectors` `[len(labels), dim]`.
        labels: the names to look up.
        dim: width that the file must have.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is of another format or width, or lacks labels.
    """
    words = {label: label.casefold().replace("_", " ").split() for label in labels}
    wanted = {*labels, *(word for parts in words.values() for word in parts)}
    read = _read_npz if path.suffix == ".npz" else _read_glove
    vectors = read(path, wanted, dim)

    keys = {label: [label] if label in vectors else words[label] for label in labels}
    missing = [
        label
        for label, parts in keys.items()
        if not parts or any(part not in vectors for part in parts)
    ]
    if missing:
        names = ", ".join(missing[:10]) + (", ..." if len(missing) > 10 else "")
        raise ValueError(
            f"{path} has no vector for {len(missing)} of {len(labels)} labels: "
            f"{names}; add them, or use embedding=cooccurrence"
        )
    embeddings = np.stack(
        [np.mean([vectors[part] for part in keys[label]], axis=0) for label in labels]
    ).astype(np.float32)
    if not np.isfinite(embeddings).all():
        raise ValueError(f"{path} holds vectors that are not finite")
    return embeddings


def _ppmi(counted: statistics.LabelStatistics) -> scipy.sparse.csr_array:
    """Positive pointwise mutual information of labels i and j over images, `[l, l]`.

    `max(0, log(N_ij N / (N_i N_j)))`, on the diagonal `log(N / N_i)`, which is what
    tells labels apart that occur with nothing else.
    """
    num_labels = len(counted.counts)
    joint = (
        counted.cooccurrences + scipy.sparse.diags_array(counted.counts * 1.0).tocsr()
    ).tocoo()
    frequencies = counted.counts / max(counted.num_examples, 1)
    expected = frequencies[joint.row] * counted.counts[joint.col]
    information = np.log(joint.data / expected)
    positive = information > 0
    return scipy.sparse.csr_array(
        (information[positive], (joint.row[positive], joint.col[positive])),
        shape=(num_labels, num_labels),
    )


def _truncated_svd(
    matrix: scipy.sparse.csr_array, dim: int
) -> tuple[Float64[np.ndarray, "l k"], Float64[np.ndarray, " k"]]:
    """Left singular vectors and singular values of a symmetric matrix, largest first.

    k = min(dim, l). The same on every call: hence `eigsh` and not `svds`, which cannot
    seed ARPACK's random restarts where singular values are equal.
    """
    num_labels = len(matrix.indptr) - 1
    if num_labels <= dim:  # then the square is no larger than the embeddings
        eigenvalues, vectors = np.linalg.eigh(matrix.toarray())
    elif matrix.nnz == 0:  # ARPACK refuses it
        return np.zeros((num_labels, dim)), np.zeros(dim)
    else:
        start = np.ones(num_labels)
        eigenvalues, vectors = scipy.sparse.linalg.eigsh(matrix, dim, v0=start, rng=0)
    values = np.abs(eigenvalues)
    order = np.argsort(-values, kind="stable")
    values, vectors = values[order], vectors[:, order]
    peaks = np.abs(vectors).argmax(axis=0)
    signs = np.sign(vectors[peaks, np.arange(len(values))])
    return vectors * signs, values  # the sign of a singular vector is arbitrary


def _read_glove(
    path: pathlib.Path, wanted: set[str], dim: int
) -> dict[str, Float64[np.ndarray, " v"]]:
    vectors = {}
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            # Not split(): words of GloVe hold exotic spaces; 840B even plain ones.
            fields = line.rstrip().split(" ")
            if number == 1 and len(fields) != dim + 1:
                raise ValueError(
                    f"{path}, line 1: a word and {len(fields) - 1} numbers; expected "
                    f"embedding_dim={dim} of them, as in GloVe's .txt files"
                )
            word = " ".join(fields[:-dim])
            if word not in wanted:
                continue
            try:
                vectors[word] = np.array(fields[-dim:], dtype=np.float64)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
    return vectors


def _read_npz(
    path: pathlib.Path, wanted: set[str], dim: int
) -> dict[str, Float64[np.ndarray, " v"]]:
    arrays = npz_files.read(path)
    missing = [name for name in ("labels", "vectors") if name not in arrays]
    if missing:
        raise ValueError(
            f"{path} lacks {', '.join(missing)}; expected an .npz with the arrays "
            "`labels` and `vectors`"
        )
    labels, vectors = arrays["labels"], arrays["vectors"]
    if labels.dtype.kind != "U" or vectors.shape != (labels.size, dim):
        raise ValueError(
            f"{path} has labels {labels.dtype}{labels.shape} and vectors "
            f"{vectors.shape}; expected strings [n] and [n, embedding_dim={dim}]"
        )
    return {
        str(label): vector.astype(np.float64)
        for label, vector in zip(labels, vectors, strict=True)
        if label in wanted
    }
