import pathlib
import zipfile

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlgcn_jax.graph import label_graph, statistics

# Labels 0 and 1 are together in 2 images, 1 and 2 in 1; label 3 never occurs.
EXAMPLES = [[0, 1], [0, 1], [1], [1, 2]]
COUNTED = statistics.count_labels(EXAMPLES, 4)


def to_dense(graph: label_graph.LabelGraph, num_labels: int) -> np.ndarray:
    dense = np.zeros((num_labels, num_labels))
    np.add.at(dense, (graph.receivers, graph.senders), graph.edge_weights)
    return dense


def random_examples(seed: int, num_labels: int) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    labels = rng.random((20, num_labels)) < rng.random(num_labels) * 0.5
    return [np.flatnonzero(row).tolist() for row in labels]


def dense_adjacency(examples, num_labels: int, gamma: float) -> np.ndarray:
    """Eq. 6, entry by entry from the examples."""
    adjacency = np.zeros((num_labels, num_labels))
    for i in range(num_labels):
        with_i = [example for example in examples if i in example]
        for j in range(num_labels):
            if i != j and with_i:
                share = sum(j in example for example in with_i) / len(with_i)
                adjacency[i, j] = share >= gamma and share > 0
    return adjacency


def dense_paper(adjacency: np.ndarray, p: float) -> np.ndarray:
    num_labels = len(adjacency)
    reweighted = np.zeros_like(adjacency)
    for i in range(num_labels):
        for j in range(num_labels):
            if i == j:
                reweighted[i, j] = 1 - p
            elif adjacency[i, j]:
                others = sum(adjacency[i, k] for k in range(num_labels) if k != i)
                reweighted[i, j] = p * adjacency[i, j] / others
    scale = np.diag(reweighted.sum(axis=1) ** -0.5)
    return scale @ reweighted @ scale


def dense_reference_code(adjacency: np.ndarray, p: float) -> np.ndarray:
    """What gen_A and gen_adj do, as one formula an entry."""
    num_labels = len(adjacency)
    column_sums = [
        sum(adjacency[k, j] for k in range(num_labels)) for j in range(num_labels)
    ]
    reweighted = np.eye(num_labels)
    for i in range(num_labels):
        for j in range(num_labels):
            reweighted[i, j] += p * adjacency[i, j] / (column_sums[j] + 1e-6)
    degrees = [sum(reweighted[i, :]) for i in range(num_labels)]
    result = np.zeros_like(reweighted)
    for i in range(num_labels):
        for j in range(num_labels):
            result[i, j] = reweighted[j, i] / np.sqrt(degrees[i] * degrees[j])
    return result


ORACLES = {"paper": dense_paper, "reference_code": dense_reference_code}


def test_paper_by_hand():
    # P(0 | 1) = 1/2 and P(2 | 1) = 1/4, P(1 | 0) = P(1 | 2) = 1. At gamma = 0.5 label 1
    # hears 0, labels 0 and 2 hear 1, label 3 hears itself alone.
    graph = label_graph.build_label_graph(COUNTED, gamma=0.5, p=0.2, variant="paper")
    expected = [
        [0.8, 0.2, 0.0, 0.0],
        [0.2, 0.8, 0.0, 0.0],
        [0.0, 0.2, 0.8, 0.0],
        [0.0, 0.0, 0.0, 1.0],  # degree 0.8
    ]
    np.testing.assert_allclose(to_dense(graph, 4), expected, rtol=1e-6)
    np.testing.assert_array_equal(graph.receivers, [0, 0, 1, 1, 2, 2, 3])
    np.testing.assert_array_equal(graph.senders, [0, 1, 0, 1, 1, 2, 3])
    assert graph.receivers.dtype == graph.senders.dtype == np.int32
    assert graph.edge_weights.dtype == np.float32


def test_reference_code_by_hand():
    # The same A; its column sums are 1, 2, 0. A' = [[1, .1, 0], [.2, 1, 0], [0, .1, 1]]
    # has row sums 1.1, 1.2, 1.1, and the edges are turned round: 1 hears 0 and 2.
    graph = label_graph.build_label_graph(
        COUNTED, gamma=0.5, p=0.2, variant="reference_code"
    )
    expected = [
        [1 / 1.1, 0.2 / np.sqrt(1.32), 0, 0],
        [0.1 / np.sqrt(1.32), 1 / 1.2, 0.1 / np.sqrt(1.32), 0],
        [0, 0, 1 / 1.1, 0],
        [0, 0, 0, 1],
    ]
    # The code adds 1e-6 to the column sums.
    np.testing.assert_allclose(to_dense(graph, 4), expected, rtol=3e-6)


@pytest.mark.parametrize("variant", ["paper", "reference_code"])
@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    num_labels=st.integers(1, 9),
    gamma=st.sampled_from([0.002, 0.25, 0.4, 0.5, 1.0]),
    p=st.sampled_from([0.0, 0.2, 0.9]),
)
def test_edges_are_those_of_the_dense_equations(variant, seed, num_labels, gamma, p):
    examples = random_examples(seed, num_labels)
    counted = statistics.count_labels(examples, num_labels)
    graph = label_graph.build_label_graph(counted, gamma=gamma, p=p, variant=variant)
    adjacency = dense_adjacency(examples, num_labels, gamma)
    np.testing.assert_allclose(
        to_dense(graph, num_labels), ORACLES[variant](adjacency, p), rtol=1e-6
    )
    edges = list(zip(graph.receivers, graph.senders, strict=True))
    assert edges == sorted(set(edges))
    assert {(i, i) for i in range(num_labels)} <= set(edges)


def test_rows_with_a_neighbour_sum_to_one_before_normalisation():
    # Where every label has a neighbour all degrees are 1, and A_hat is A' itself.
    counted = statistics.count_labels([[0, 1, 2], [0, 1], [1, 2]], 3)
    graph = label_graph.build_label_graph(counted, gamma=0.1, p=0.3, variant="paper")
    dense = to_dense(graph, 3)
    np.testing.assert_allclose(dense.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(np.diag(dense), 0.7, rtol=1e-6)


def test_threshold_itself_is_an_edge():
    counted = statistics.count_labels(
        [[0, 1], [0, 1], [0], [0], [0]], 2
    )  # P(1|0) = 0.4
    edges = [
        len(label_graph.build_label_graph(counted, gamma=g, p=0.2, variant="paper")[0])
        for g in (0.4, np.nextafter(0.4, 1))
    ]
    assert edges == [4, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma": 0.0}, "gamma=0.0"),
        ({"gamma": 1.1}, "gamma=1.1"),
        ({"gamma": float("nan")}, "gamma=nan"),
        ({"p": 1.0}, "p=1.0"),
        ({"p": -0.1}, "p=-0.1"),
        (
            {"variant": "papre"},
            "variant='papre'; expected one of paper, reference_code",
        ),
        ({"embeddings": np.zeros((3, 2), np.float32)}, "3 embeddings for 4 labels"),
    ],
)
def test_wrong_arguments(options, message: str):
    options = {"gamma": 0.5, "p": 0.2, "variant": "paper"} | options
    with pytest.raises(ValueError, match=message):
        label_graph.build_label_graph(COUNTED, **options)


def graph_with_embeddings(embeddings: np.ndarray | None) -> label_graph.LabelGraph:
    return label_graph.build_label_graph(
        COUNTED, embeddings, gamma=0.5, p=0.2, variant="paper"
    )


EMBEDDINGS = np.arange(8, dtype=np.float32).reshape(4, 2)


@pytest.mark.parametrize("embeddings", [None, EMBEDDINGS])
def test_file_gives_back_what_was_saved(tmp_path: pathlib.Path, embeddings):
    path, again = tmp_path / "graph.npz", tmp_path / "again.npz"
    graph = graph_with_embeddings(embeddings)
    label_graph.save_label_graph(path, graph, COUNTED)
    loaded, counted = label_graph.load_label_graph(path)
    assert jax.tree.structure(loaded) == jax.tree.structure(graph)
    jax.tree.map(np.testing.assert_array_equal, loaded, graph)
    names = ["a", "b", "c", "d"]
    assert label_graph.summarize(loaded, counted, names) == label_graph.summarize(
        graph, COUNTED, names
    )
    label_graph.save_label_graph(again, loaded, counted)
    assert again.read_bytes() == path.read_bytes()
    with zipfile.ZipFile(path) as archive:  # ... and no clock is read
        assert {info.date_time[0] for info in archive.infolist()} == {1980}
    assert sorted(tmp_path.iterdir()) == [again, path]  # nothing temporary is left


def test_full_disk_leaves_the_old_file(tmp_path: pathlib.Path, monkeypatch):
    path = tmp_path / "graph.npz"
    label_graph.save_label_graph(path, graph_with_embeddings(None), COUNTED)
    before = path.read_bytes()

    def fail(file, **arrays):
        file.write(b"PK")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="No space left"):
        label_graph.save_label_graph(path, graph_with_embeddings(EMBEDDINGS), COUNTED)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [before]


def test_no_byte_can_turn_unnoticed(tmp_path: pathlib.Path):
    path = tmp_path / "graph.npz"
    graph = graph_with_embeddings(EMBEDDINGS)
    label_graph.save_label_graph(path, graph, COUNTED)
    whole = path.read_bytes()
    refused = 0
    for position in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[position] ^= 0x55
        path.write_bytes(damaged)
        try:
            loaded, counted = label_graph.load_label_graph(path)
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
            continue
        # Not every byte of a zip carries content: its time stamps do not.
        jax.tree.map(np.testing.assert_array_equal, loaded, graph)
        np.testing.assert_array_equal(counted.counts, COUNTED.counts)
    assert refused > len(whole) / 6


def test_truncated_file(tmp_path: pathlib.Path):
    path = tmp_path / "graph.npz"
    label_graph.save_label_graph(path, graph_with_embeddings(None), COUNTED)
    whole = path.read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"graph\.npz is damaged"):
            label_graph.load_label_graph(path)


def test_missing_file(tmp_path: pathlib.Path):
    with pytest.raises(FileNotFoundError, match="absent"):
        label_graph.load_label_graph(tmp_path / "absent.npz")


def test_foreign_files(tmp_path: pathlib.Path):
    path = tmp_path / "foreign.npz"
    path.write_text("label,aliases\n")
    with pytest.raises(ValueError, match=r"foreign\.npz is damaged, or no \.npz file"):
        label_graph.load_label_graph(path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match=r"foreign\.npz is damaged, or no \.npz file"):
        label_graph.load_label_graph(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"counts": None}, "it lacks counts"),
        ({"edge_weights": np.ones(3, np.float32)}, r"edge_weights is float32\(3,\)"),
        ({"receivers": np.zeros(7)}, "receivers is float64"),
        ({"senders": np.full(7, 4, np.int32)}, "senders points at labels beyond its 4"),
        (
            {"senders": np.full(7, -1, np.int32)},
            "senders points at labels beyond its 4",
        ),
        (
            {"receivers": np.arange(3, -4, -1, np.int32).clip(0)},
            "receivers are not sorted",
        ),
        ({"edge_weights": np.full(7, np.nan, np.float32)}, "not finite"),
        (
            {"embeddings": np.zeros((3, 2), np.float32)},
            r"embeddings is float32\(3, 2\)",
        ),
        ({"counts": np.array([object()] * 4)}, "damaged, or no .npz file"),
    ],
)
def test_file_with_wrong_arrays(tmp_path: pathlib.Path, changes, message: str):
    path = tmp_path / "graph.npz"
    label_graph.save_label_graph(path, graph_with_embeddings(EMBEDDINGS), COUNTED)
    with np.load(path) as file:
        arrays = dict(file) | changes
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
    with pytest.raises(ValueError, match=message):
        label_graph.load_label_graph(path)


def test_summary():
    graph = graph_with_embeddings(None)
    counted = COUNTED
    assert label_graph.summarize(graph, counted, ["sky", "sea", "猫", "maid"]) == (
        "4 labels, 4 examples\n"
        "3 edges between labels, density 0.25\n"
        "isolated labels: 1 (maid)\n"
        "labels without images: 1 (maid)\n"
        "strongest pairs: P(second | first), images with both\n"
        "  1.000         2  sky -> sea\n"
        "  1.000         1  猫 -> sea\n"
        "  0.500         2  sea -> sky\n"
        "  0.250         1  sea -> 猫"
    )
    with pytest.raises(ValueError, match="3 names for the 4 labels"):
        label_graph.summarize(graph, counted, ["sky", "sea", "猫"])


def test_summary_shortens_long_lists():
    counted = statistics.count_labels([list(range(6))], 20)
    graph = label_graph.build_label_graph(counted, gamma=0.5, p=0.2, variant="paper")
    text = label_graph.summarize(graph, counted, [f"l{i}" for i in range(20)])
    assert (
        "labels without images: 14 (l6, l7, l8, l9, l10, l11, l12, l13, l14, l15, ...)"
        in text
    )
    assert text.count(" -> ") == 10
