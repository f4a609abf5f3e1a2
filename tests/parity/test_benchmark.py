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
    torch_compiled_tasks,
    torch_model,
    torch_tasks,
    torch_whole_run,
    traces,
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


def test_a_compiled_contestant_in_bfloat16_computes_the_same():
    image = cases.make_batch(2, 64).image
    torch.manual_seed(0)
    model = torch_tasks.create_model().eval()
    expected = torch_tasks.score(model, image)
    computed = torch_tasks.in_precision(model, "bfloat16")
    found = torch_tasks.score(computed, image)
    assert found.dtype == np.float32
    assert 0 < np.abs(found - expected).max() < 0.05
    assert torch_compiled_tasks.TASKS.keys() == {"T", "I"}


def test_what_is_left_out_for_want_of_time_is_told(caplog):
    with caplog.at_level("WARNING"):
        assert measures.run("G", folder=None, deadline=0.0) == []
    assert "G, 40: left out for want of time" in caplog.text
    assert "there was no time" in measures.format_table("G", [])


def test_the_use_of_a_device():
    """A step of 1 TFLOP and 10 GB in 20 ms, on a card of 989 TFLOP/s and 3,352 GB/s."""
    kernel = {"name": "gemm_fusion", "share": 0.5, "count": 3, "seconds": 0.01}
    facts = {
        "flops": 1e12,
        "bytes_accessed": 10e9,
        "device": "NVIDIA H100 80GB HBM3",
        "kernels": [kernel],
    }
    row = measures.use_of_device({"jax": race.Result(0.02, 1.0, facts)})
    assert row["tflop_per_s"] == 50 and row["gb_per_s"] == 500
    assert row["share_of_flops"] == pytest.approx(50 / 989)
    assert row["share_of_bytes"] == pytest.approx(500 / 3352)
    lines = measures.format_table("U", [{"case": "32x512", **row}]).splitlines()
    assert lines[-1].split() == ["50.0%", "3x", "gemm_fusion"]
    row = measures.use_of_device(
        {"jax": race.Result(0.02, 1.0, facts | {"device": "cpu"})}
    )
    assert "share_of_flops" not in row


def test_the_kernels_of_a_step_are_found():
    _, facts = jax_tasks.kernels(batch_size=8, image_size=32)
    found = facts["kernels"]
    assert len(found) == 10
    assert [kernel["seconds"] for kernel in found] == sorted(
        (kernel["seconds"] for kernel in found), reverse=True
    )
    assert 0 < sum(kernel["share"] for kernel in found) <= 1
    assert facts["flops"] > 0 and facts["planned_peak_bytes"] > 4 * 7e6


def test_a_folder_without_a_trace_is_told(tmp_path):
    with pytest.raises(ValueError, match="has no trace"):
        traces.most_expensive(tmp_path, most=3)


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
