"""The contestants of `mlgcn benchmark` run, and compute the same model."""

import pathlib

import jax
import numpy as np
import pytest
import torch
from flax import nnx

from mlgcn_jax.benchmarks import (
    cases,
    figures,
    form_tasks,
    jax_tasks,
    jax_whole_run,
    measures,
    pictures,
    race,
    running,
    torch_compiled_tasks,
    torch_model,
    torch_tasks,
    traces,
    trials,
)
from mlgcn_jax.graph import label_graph
from mlgcn_jax.models import graph_convolution
from mlgcn_jax.training import memory
from tfds_pixiv import build


@pytest.mark.parametrize("module", ["jax_tasks", "torch_tasks"])
def test_a_contestant_is_timed_in_turns(module):
    contestants = {name: race.Contestant(module) for name in ("a", "b")}
    results = race.race(contestants, "G", {"num_labels": 40}, rounds=3)
    assert results.keys() == {"a", "b"}
    assert all(result.seconds > 0 for result in results.values())


def test_a_contestant_that_fails_is_an_error():
    with pytest.raises(race.ContestantError, match="a ended with status 1"):
        race.race({"a": race.Contestant("jax_tasks")}, "none", {}, rounds=1)


def test_a_row_has_the_ratio_of_the_medians():
    rows = [{"case": "8x128", "jax_s": 0.5, "ratio": 2.0}, {"case": "b", "failed": "x"}]
    text = figures.format_table("T: steps", rows)
    assert text.splitlines() == [
        "T: steps",
        " case  jax_s  ratio",
        "8x128    0.5      2",
        "    b              ",
        "b failed: x",
    ]


def test_ratios_are_those_of_an_image():
    """32 images in 2 s, and 16 in 3 s: thrice the time of one."""
    results = {
        "jax": race.Result(2.0, 1.0, {"images": 32, "peak_bytes": 2**31}),
        "torch": race.Result(3.0, 1.0, {"images": 16}),
    }
    row = figures.seconds(results)
    assert (row["jax_s"], row["torch_s"], row["ratio"]) == (2, 3, 3)
    assert (row["jax_images"], row["torch_images"]) == (32, 16)
    assert row["jax_images_per_s"] == 16
    assert row["jax_peak_gib"] == 2


def test_a_step_stands_beside_its_plan():
    """On an H100 100 TFLOP take at least 100 / 989 s, 10 GB 3 ms."""
    facts = {
        "images": 32,
        "flops": 100e12,
        "bytes_accessed": 10e9,
        "device": "NVIDIA H100 80GB HBM3",
        "peak_bytes": 2**31,
        "planned_peak_bytes": 2**30,
    }
    row = figures.of_train_step({"jax": race.Result(0.2, 1.0, facts)})
    assert row["planned_s"] == pytest.approx(100 / 989)
    assert (row["jax_peak_gib"], row["planned_peak_gib"]) == (2, 1)
    assert "ratio" not in row


def test_input_stands_beside_the_quickest_step():
    of_input = [{"jax_images_per_s": 500.0}]
    figures.compare_input(of_input, [{"failed": "x"}])
    assert of_input == [{"jax_images_per_s": 500.0}]
    steps = [{"jax_images_per_s": rate} for rate in (700.0, 900.0)]
    figures.compare_input(of_input, steps)
    assert of_input[0]["step_images_per_s"] == 900


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


def no_folder(letter: str) -> pathlib.Path:
    raise AssertionError(f"{letter} needs no folder")


def test_what_is_left_out_for_want_of_time_is_told(caplog):
    chosen = {"G": measures.for_platform("cpu")["G"]}
    with caplog.at_level("WARNING"):
        *_, rows = running.run(chosen, prepare=no_folder, deadline=0.0)
    assert rows == {"G": []}
    assert "G, 40: left out for want of time" in caplog.text
    assert "there was no time" in figures.format_table("G", [])


def test_the_first_case_of_each_measure_comes_before_the_second(monkeypatch):
    asked = []

    def answer(contestants, letter, case, *, rounds):
        asked.append((letter, case["num_labels"]))
        return {name: race.Result(1.0, 1.0, {}) for name in contestants}

    monkeypatch.setattr(race, "race", answer)
    graph_head = measures.for_platform("cpu")["G"]
    *_, rows = running.run({"G": graph_head, "H": graph_head}, prepare=no_folder)
    sizes = (40, 2_000, 20_000)
    assert asked == [(letter, size) for size in sizes for letter in ("G", "H")]
    assert [row["case"] for row in rows["H"]] == ["40", "2000", "20000"]


def test_what_is_missing_is_told_before_anything_runs(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    on_gpu = measures.for_platform("gpu")
    with pytest.raises(ValueError, match=r"torch not found: .*pip install"):
        measures.check_installed(on_gpu)
    measures.check_installed({letter: on_gpu[letter] for letter in ("U", "H")})
    measures.check_installed(measures.for_platform("tpu"))


MODEL = {"backbone": "densenet_tiny", "dtype": "bfloat16"}
SMALL = {
    **{letter: {"batch_size": 2, "image_size": 32} | MODEL for letter in "TUICH"},
    "P": {"batch_size": 4, "image_size": 32, "num_threads": 2},
    "G": {"num_labels": 40},
}


@pytest.fixture
def small_pictures(tmp_path, monkeypatch):
    """What `mlgcn benchmark` prepares for P, but fewer and smaller."""
    monkeypatch.setattr(pictures, "NUM_PICTURES", 200)
    monkeypatch.setattr(pictures, "SIZE_PX", 32)
    crawl = pictures.make_crawl_folder(tmp_path / "crawl")
    build.build(crawl, tmp_path / "built", min_works=1)
    return tmp_path / "built"


def test_what_a_gpu_is_asked_rehearsed(small_pictures):
    """Every contestant and figure, with a small model on the CPU in the card's place.

    A CPU does not say how much memory it has: nobody finds the largest batch there.
    """
    on_gpu = measures.for_platform("gpu")
    chosen = {
        letter: on_gpu[letter]._replace(cases={"small": case}, rounds=1)
        for letter, case in SMALL.items()
    }
    steps = {"small": SMALL["T"], "largest": {"image_size": 32} | MODEL}
    chosen["T"] = chosen["T"]._replace(cases=steps)
    *_, rows = running.run(
        chosen, prepare=lambda _: small_pictures, input_feeds_steps=True
    )
    step, largest = rows["T"]
    assert all(f"{name} ended with" in largest["failed"] for name in ("jax", "torch"))
    assert "jax_s" not in largest
    found = {letter: rows[letter][0] for letter in chosen}
    assert not any("failed" in row for row in found.values())
    for letter, others in {
        **{"T": ("torch", "torch_compiled"), "I": ("torch", "torch_compiled")},
        **{"P": ("torch", "decode"), "C": ("torch",), "G": ("torch",)},
        **{"U": (), "H": ()},
    }.items():
        assert all(found[letter][f"{name}_s"] > 0 for name in ("jax", *others))
    assert found["P"]["step_images_per_s"] == step["jax_images_per_s"]
    assert found["U"]["tflop_per_s"] > 0 and len(found["U"]["kernels"]) == 10


@pytest.mark.parametrize("bytes_of_image", [1_000, 70_000])
def test_the_largest_batch_is_a_multiple_of_eight(bytes_of_image):
    """Of 5,000,000 bytes 100,000 are the state's: 4,900 images fit, or exactly 70."""
    tried = []

    def peak_bytes(images: int) -> int | None:
        tried.append(images)
        peak = 100_000 + bytes_of_image * images
        return None if peak > 6_000_000 else peak  # what runs out says nothing

    found = trials.find_largest_batch(peak_bytes, memory_bytes=5_000_000)
    assert found == 4_900_000 // bytes_of_image // 8 * 8
    assert len(tried) <= 8
    with pytest.raises(ValueError, match="too few for 8 images"):
        trials.find_largest_batch(peak_bytes, memory_bytes=100_000)


def test_our_largest_batch_is_counted(monkeypatch):
    """Beside the batch that was found eight images more need more than there is."""
    model = {"backbone": "densenet_tiny"}

    def planned(batch_size: int) -> int:
        task = jax_tasks.train(batch_size=batch_size, image_size=32, **model)
        return task.facts["planned_peak_bytes"]

    limit = planned(24)
    monkeypatch.setattr(memory, "device_bytes", lambda: limit / 0.94)
    task = jax_tasks.train(image_size=32, **model)
    assert task.facts["images"] == 24
    assert planned(32) > limit


def test_the_use_of_a_device():
    """A step of 1 TFLOP and 10 GB in 20 ms, on a card of 989 TFLOP/s and 3,352 GB/s."""
    kernel = {"name": "gemm_fusion", "share": 0.5, "count": 3, "seconds": 0.01}
    facts = {
        "flops": 1e12,
        "bytes_accessed": 10e9,
        "device": "NVIDIA H100 80GB HBM3",
        "kernels": [kernel],
    }
    row = figures.use_of_device({"jax": race.Result(0.02, 1.0, facts)})
    assert row["tflop_per_s"] == 50 and row["gb_per_s"] == 500
    assert row["share_of_flops"] == pytest.approx(50 / 989)
    assert row["share_of_bytes"] == pytest.approx(500 / 3352)
    lines = figures.format_table("U", [{"case": "32x512", **row}]).splitlines()
    assert lines[-1].split() == ["50.0%", "3x", "gemm_fusion"]
    row = figures.use_of_device(
        {"jax": race.Result(0.02, 1.0, facts | {"device": "cpu"})}
    )
    assert "share_of_flops" not in row


def test_the_kernels_of_a_step_are_found():
    facts = jax_tasks.kernels(batch_size=8, image_size=32).facts
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
    ours = jax_tasks.TASKS.keys() | jax_whole_run.TASKS.keys() | form_tasks.TASKS.keys()
    assert ours == set(measures.MEASURES)
    for platform in ("cpu", "gpu", "tpu"):
        assert measures.for_platform(platform).keys() == ours
