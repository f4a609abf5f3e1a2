import pathlib

import numpy as np
import pytest

from mlgcn_jax.graph import embeddings, statistics

# Two groups, {0, 1, 2} and {3, 4, 5}; label 6 occurs alone, label 7 never.
EXAMPLES = [
    [0, 1],
    [0, 2],
    [1, 2],
    [0, 1, 2],
    [3, 4],
    [4, 5],
    [3, 5],
    [3, 4, 5],
    [6],
    [6],
]
COUNTED = statistics.count_labels(EXAMPLES, 8)


def cooccurrence(counted, dim: int) -> np.ndarray:
    labels = [""] * len(counted.counts)
    z = embeddings.label_embeddings("cooccurrence", counted, dim=dim, labels=labels)
    assert z is not None
    return z


def dense_ppmi(examples, num_labels: int) -> np.ndarray:
    ppmi = np.zeros((num_labels, num_labels))
    for i in range(num_labels):
        for j in range(num_labels):
            n_i, n_j = (sum(k in example for example in examples) for k in (i, j))
            both = sum(i in example and j in example for example in examples)
            if both:
                ppmi[i, j] = max(0.0, np.log(both * len(examples) / (n_i * n_j)))
    return ppmi


@pytest.mark.parametrize("num_negatives", [0, 90])
@pytest.mark.parametrize("dim", [1, 3, 8, 20])
def test_cooccurrence_is_the_truncated_svd_of_the_ppmi_matrix(
    dim: int, num_negatives: int
):
    rng = np.random.default_rng(0)  # probabilities apart, so that no values are equal
    labels = rng.random((60, 12)) < np.linspace(0.1, 0.6, 12)
    examples = [np.flatnonzero(row).tolist() for row in labels]
    examples += [[]] * num_negatives
    z = cooccurrence(statistics.count_labels(examples, 12), dim)
    vectors, values, _ = np.linalg.svd(dense_ppmi(examples, 12))
    rank = min(dim, 12)
    expected = vectors[:, :rank] * np.sqrt(values[:rank])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    # Products, because the sign of a singular vector is arbitrary.
    np.testing.assert_allclose(z @ z.T, expected @ expected.T, atol=1e-5)
    assert z.shape == (12, dim)
    assert not z[:, rank:].any()


@pytest.mark.parametrize("dim", [2, 3, 8, 300])
def test_every_label_has_a_unit_vector(dim: int):
    z = cooccurrence(COUNTED, dim)
    assert z.dtype == np.float32
    assert z.shape == (8, dim)
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, rtol=1e-5)


def test_labels_that_occur_together_lie_close():
    similarity = (z := cooccurrence(COUNTED, 300)) @ z.T
    assert similarity[0, 1] > 0.5 and similarity[3, 4] > 0.5
    np.testing.assert_allclose(similarity[:3, 3:6], 0, atol=1e-5)
    np.testing.assert_allclose(similarity[6, :6], 0, atol=1e-5)


def test_same_counts_give_the_same_bits():
    # All singular values equal: where svds differs from call to call.
    apart = statistics.count_labels([[i] for i in range(40)], 40)
    for counted, dim in ((COUNTED, 4), (COUNTED, 300), (apart, 5), (apart, 39)):
        np.testing.assert_array_equal(
            cooccurrence(counted, dim), cooccurrence(counted, dim)
        )


@pytest.mark.parametrize("dim", [1, 7])
@pytest.mark.parametrize(
    ("examples", "num_labels"),
    [
        *[([], 1), ([[0]], 1), ([], 9), ([list(range(9))], 9), ([[0], [1]], 2)],
        *[([[0], []], 1), ([[], []], 3), ([[0, 1]] * 3 + [[0]], 3)],
    ],
)
def test_next_to_nothing_to_go_by(examples, num_labels: int, dim: int):
    z = cooccurrence(statistics.count_labels(examples, num_labels), dim)
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("kind", ["one_hot", "learned"])
def test_the_head_makes_the_others(kind: str):
    assert embeddings.label_embeddings(kind, COUNTED, dim=3, labels=[]) is None


@pytest.mark.parametrize(
    ("kind", "dim", "message"),
    [
        ("glove", 3, "embedding='glove'; expected one of cooccurrence, one_hot, file"),
        ("cooccurrence", 0, "embedding_dim=0"),
        ("file", 3, "needs embedding_file"),
    ],
)
def test_wrong_arguments(kind: str, dim: int, message: str):
    with pytest.raises(ValueError, match=message):
        embeddings.label_embeddings(kind, COUNTED, dim=dim, labels=[])


def read(path: pathlib.Path, labels: list[str], dim: int = 2) -> np.ndarray:
    counted = statistics.count_labels([], len(labels))
    z = embeddings.label_embeddings("file", counted, dim=dim, path=path, labels=labels)
    assert z is not None
    return z


def test_glove_text(tmp_path: pathlib.Path):
    path = tmp_path / "glove.txt"
    # A word with an exotic space, and two as in 840B, whose first words are wanted.
    path.write_text(
        "the 9 9\ncat 1 2\n. cat\u0085x 7 7\ncat me@home.org 8 8\nears 3 -4e-1\n"
        "黒髪 5 6\n",
        encoding="utf-8",
    )
    z = read(path, ["Cat Ears", "cat", "cat_ears", "黒髪"])
    assert z.dtype == np.float32
    np.testing.assert_allclose(z, [[2, 0.8], [1, 2], [2, 0.8], [5, 6]], rtol=1e-6)


def test_npz(tmp_path: pathlib.Path):
    path = tmp_path / "vectors.npz"
    vectors = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
    np.savez(path, labels=np.array(["cat", "ears", "Black Hair"]), vectors=vectors)
    z = read(path, ["Black Hair", "cat ears", "cat"])
    np.testing.assert_array_equal(z, [[5, 6], [2, 3], [1, 2]])


def test_missing_labels_are_named(tmp_path: pathlib.Path):
    path = tmp_path / "glove.txt"
    path.write_text("cat 1 2\n")
    with pytest.raises(ValueError, match=r"2 of 3 labels: cat ears, _; add them"):
        read(path, ["cat ears", "cat", "_"])
    many = [f"label{i}" for i in range(12)]
    with pytest.raises(
        ValueError, match=r"12 of 12 labels: label0, .*label9, \.\.\.; add"
    ):
        read(path, many)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat 1 2 3\n", "line 1: a word and 3 numbers; expected embedding_dim=2"),
        ("400000 2\ncat 1 2\n", "line 1: a word and 1 numbers"),
        ("", "no vector for 1 of 1 labels: cat"),
        ("the 1 2\ncat 1 x\n", "line 2: could not convert string to float: 'x'"),
        ("cat 1 nan\n", "not finite"),
    ],
)
def test_wrong_glove_text(tmp_path: pathlib.Path, text: str, message: str):
    path = tmp_path / "glove.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read(path, ["cat"])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": np.array(["cat"])}, "with the arrays `labels` and `vectors`"),
        ({"labels": np.array([1]), "vectors": np.ones((1, 2))}, "expected strings"),
        ({"labels": np.array(["cat"]), "vectors": np.ones((1, 3))}, "embedding_dim=2"),
        (
            {"labels": np.array(["cat"], object), "vectors": np.ones((1, 2))},
            "allow_pickle=False",
        ),
    ],
)
def test_wrong_npz(tmp_path: pathlib.Path, arrays, message: str):
    path = tmp_path / "vectors.npz"
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=message):
        read(path, ["cat"])


@pytest.mark.parametrize("name", ["vectors.npz", "glove.txt"])
def test_missing_file(tmp_path: pathlib.Path, name: str):
    with pytest.raises(FileNotFoundError, match=name):
        read(tmp_path / name, ["cat"])


def test_npz_that_is_none(tmp_path: pathlib.Path):
    path = tmp_path / "vectors.npz"
    path.write_text("cat 1 2\n")
    with pytest.raises(ValueError, match=r"vectors\.npz is damaged, or no \.npz"):
        read(path, ["cat"])
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match=r"vectors\.npz is damaged, or no \.npz"):
        read(path, ["cat"])
