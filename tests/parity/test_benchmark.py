"""The contestants of `mlgcn benchmark` run, and compute the same model."""

import configurations
import jax
import numpy as np
import pytest
import torch
from flax import nnx

from mlgcn_jax.benchmarks import (
    cases,
    jax_tasks,
    jax_whole_run,
    measures,
    race,
    torch_model,
    torch_whole_run,
    whole_run,
)
from mlgcn_jax.graph import label_graph
from mlgcn_jax.models import graph_convolution


@pytest.mark.parametrize("module", ["jax_tasks", "torch_tasks"])
def test_a_contestant_is_timed_in_turns(module):
    contestants = {name: race.Contestant(module, {}) for name in ("a", "b")}
    results = race.race(contestants, "G", {"num_labels": 40}, rounds=3)
    assert results.keys() == {"a", "b"}
    assert all(result.seconds > 0 for result in results.values())


def test_a_contestant_that_fails_is_an_error():
    with pytest.raises(ValueError, match="a ended with status 1"):
        race.race({"a": race.Contestant("jax_tasks", {})}, "none", {}, rounds=1)


def test_a_row_has_the_ratio_of_the_medians():
    text = measures.format_table("T", [{"case": "8x128", "jax_s": 0.5, "ratio": 2.0}])
    assert text.splitlines()[1:] == [" case  jax_s  ratio", "8x128    0.5      2"]


def test_the_reference_convolves_over_the_same_graph():
    graph = cases.make_graph(12, embedding_dim=5)
    assert isinstance(graph, label_graph.LabelGraph)
    theirs = torch_model.GraphConvolution(5, 3)
    nodes = torch.from_numpy(np.asarray(graph.embeddings))
    expected = theirs(nodes, torch_model.dense_adjacency(graph)).detach().numpy()
    ours = graph_convolution.GraphConvolution(5, 3, rngs=nnx.Rngs(0))
    ours.kernel[...] = theirs.weight.detach().numpy()
    on_device = jax.tree.map(jax.numpy.asarray, graph)
    np.testing.assert_allclose(
        ours(on_device.embeddings, on_device), expected, rtol=1e-4, atol=1e-5
    )


def test_every_measure_of_pytorch_has_one_of_ours():
    ours = jax_tasks.TASKS.keys() | jax_whole_run.TASKS.keys()
    assert ours == set(measures.MEASURES)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, data_dir):
    """What a run of two short epochs starts from."""
    folder = tmp_path_factory.mktemp("whole_run")
    config = configurations.tiny(data_dir, optimizer__schedule="warmup_cosine")
    whole_run.prepare(config, folder)
    return folder


@pytest.mark.parametrize("threshold_map", [0.0, 1.1])
def test_whole_runs_of_both_say_when_they_reached_the_threshold(
    prepared, threshold_map
):
    contestants = {
        name: race.Contestant(f"{name}_whole_run", {}) for name in ("jax", "torch")
    }
    case = {"folder": str(prepared), "threshold_map": threshold_map}
    results = race.race(contestants, "R", case, rounds=1)
    for result in results.values():
        facts = result.facts
        assert 0 < facts["start_s"] < facts["total_s"] < result.ready_s
        assert 0 < facts["mAP"] <= 1
        if threshold_map == 0:
            assert facts["start_s"] < facts["to_threshold_s"] < facts["total_s"]
        else:
            assert facts["to_threshold_s"] is None


def test_both_sides_learn_the_same(prepared):
    opened = whole_run.Prepared(prepared)
    sides = [jax_whole_run.Jax(opened), torch_whole_run.Torch(opened)]
    shape = (8, 32, 32, 3)
    rng = np.random.default_rng(0)
    half = rng.integers(0, 256, (8, 32, 16, 3), dtype=np.uint8)
    image = np.concatenate([half, half[:, :, ::-1]], axis=2)  # a flip changes nothing
    assert image.shape == shape
    labels = rng.random((8, len(opened.data.vocabulary))) < 0.3
    batch = {"image": image, "labels": labels.astype(np.float32)}
    for num_updates in range(3):
        for side in sides:
            side.begin_scoring()
        ours, theirs = (side.score(image) for side in sides)
        np.testing.assert_allclose(ours, theirs, atol=2e-3)
        if num_updates == 1:  # the schedule warms up from a rate of 0
            first = ours
        for side in sides:
            side.update(batch, opened.learning_rates[num_updates])
    assert np.abs(ours - first).max() > 0


def test_the_row_of_a_whole_run_counts_from_the_start_of_the_process():
    facts = {"start_s": 10.0, "to_threshold_s": 60.0, "total_s": 90.0, "mAP": 0.5}
    slow = {**facts, "to_threshold_s": 85.0}
    results = {"jax": race.Result(0, 95.0, facts), "torch": race.Result(0, 95.0, slow)}
    row = measures.whole_run_row(results)
    assert (row["jax_s"], row["jax_started_s"], row["jax_total_s"]) == (65, 50, 95)
    assert row["ratio"] == 90 / 65
    assert row["started_ratio"] == 1.5
    never = {**facts, "to_threshold_s": None}
    row = measures.whole_run_row({**results, "jax": race.Result(0, 95.0, never)})
    assert row["jax_s"] is None
    assert "ratio" not in row
