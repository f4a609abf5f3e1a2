"""Plans compiled for fake devices, and what is assumed or known of a dataset."""

import json
import pathlib
import re

import configurations
import numpy as np
import pytest
import train_steps
from command_line import mlgcn
from jax.experimental import topologies

from mlgcn_jax.data import dataset
from mlgcn_jax.graph import from_dataset
from mlgcn_jax.planning import (
    chips,
    dataset_sizes,
    devices,
    plan,
    plan_text,
    roofline,
    steps,
)
from mlgcn_jax.runs import mesh as meshes

SIZES = dataset_sizes.assumed(num_labels=6)


@pytest.fixture(scope="module")
def tiny_plan() -> plan.Plan:
    """Of the tiny config, with eight CPU devices in the place of the chips."""
    config = configurations.tiny(batch_size=16)
    topology = chips.parse_topology("h100:8")
    return plan.make_plan(
        config,
        topology,
        meshes.create_mesh(),
        dataset_sizes.assumed(num_labels=6, num_examples=160),
    )


def test_plan_of_a_train_step(tiny_plan):
    assert tiny_plan["fits"]
    assert tiny_plan["largest_batch_per_chip"] > 2
    # At least: the state is read and written (Adam: thrice the parameters).
    assert tiny_plan["bytes_per_image"] * 2 > 2 * 3 * 4 * 10_000
    # Gradients of all 14,000 parameters of the backbone meet, once.
    assert 4 * 14_000 < tiny_plan["collectives"]["all-reduce"]["bytes"] < 4 * 28_000
    assert tiny_plan["collectives"]["all-reduce"]["count"] >= 1
    assert tiny_plan["seconds"]["messages"] > 0
    seconds = 160 // 16 * tiny_plan["step_s_bound"]
    np.testing.assert_allclose(tiny_plan["hours_per_epoch_bound"], seconds / 3600)
    bound = 3352e9 / tiny_plan["bytes_per_image"] * 8
    np.testing.assert_allclose(tiny_plan["images_per_s_bound"], bound)
    json.dumps(tiny_plan)


def test_what_the_memory_is_for(tiny_plan):
    """A graph of 6 labels has 36 edges of 16 bytes, and 6 x 20 embeddings of 4."""
    parts = dict(tiny_plan["memory_per_chip"])
    assert parts["graph"] == 36 * 16 + 6 * configurations.tiny().graph.embedding_dim * 4
    # Adam has two moments of each parameter; running statistics have none.
    assert 1.8 * parts["parameters"] < parts["optimizer"] < 2 * parts["parameters"]
    of_head = parts.pop("head_temporaries")
    assert 0 < of_head < parts["rest"]
    assert sum(parts.values()) == tiny_plan["peak_bytes_per_chip"]


def test_the_head_of_many_labels_needs_more():
    def of_head(num_labels: int) -> int:
        config = configurations.tiny(batch_size=8)
        sizes = dataset_sizes.assumed(num_labels=num_labels)
        mesh = meshes.create_mesh()
        compiled = steps.compile_step(config, mesh, sizes)
        return compiled.memory.head_temporaries

    assert of_head(500) > 20 * of_head(6)


def test_plan_as_a_table(tiny_plan):
    table = plan_text.format_plan(tiny_plan)
    for part in (
        "densenet_tiny-gcn-max, 6 labels, 32 px, float32: a train step of 16 images on "
        "h100:1x8 (2 a chip)",
        "GB an image",
        "bound by memory traffic",
        "parameters 0.00, optimiser 0.00, label graph 0.00",
        "450 / 50 GB/s",
        "an epoch of 160 images",
        "extrapolated from this batch",
    ):
        assert part in table
    # Of the three parts the times stand under one another.
    rows = [line for line in table.splitlines() if " ms" in line and "/s" in line]
    assert len(rows) == 3 and len({row.index(" ms") for row in rows}) == 1
    gave_up = tiny_plan | roofline.does_not_fit(
        flops=1e9, batch_size=16, reason="RESOURCE_EXHAUSTED: 41.78G exceeds 15.75G"
    )
    assert "more than 80 GiB a chip: RESOURCE_EXHAUSTED" in plan_text.format_plan(
        gave_up
    )


def test_the_largest_batch_is_compiled(monkeypatch):
    """A chip whose memory lies between two batches that the tiny model is given."""
    mesh = meshes.create_mesh()
    topology = chips.parse_topology("h100:8")
    config = configurations.tiny(batch_size=8)

    def make_plan(images_per_chip: int, **options) -> plan.Plan:
        config.batch_size = 8 * images_per_chip
        return plan.make_plan(config, topology, mesh, SIZES, **options)

    enough = make_plan(3)["peak_bytes_per_chip"]
    too_little = make_plan(4)["peak_bytes_per_chip"]
    assert enough < too_little
    small = chips.CHIPS["h100"]._replace(hbm_bytes=(enough + too_little) // 2)
    monkeypatch.setitem(chips.CHIPS, "h100", small)
    found = make_plan(1, max_compilations=6)
    assert found["largest_batch_per_chip"] == 3
    assert found["largest_batch_how"].startswith("it fits and one image more does not")
    assert found["assumptions"]["batch_size"] == 8


@pytest.mark.parametrize("form", ["plain", "gpu", None])
def test_a_program_is_written_in_its_form(form):
    """On CPUs 1x1 convolutions are products, and so are the gradients of blocks."""
    case = train_steps.Case(configurations.tiny(), meshes.create_mesh(), 6, form)
    found = case.lower().as_text().count("stablehlo.convolution")
    # Stem, four dense layers of two, a transition; forward and kernels' gradients.
    assert (found >= 2 * (1 + 4 * 2 + 1)) == (form is not None)


def test_a_batch_that_chips_cannot_share_is_an_error():
    config = configurations.tiny(batch_size=9)
    with pytest.raises(ValueError, match="not divisible by 8 devices"):
        plan.make_plan(
            config, chips.parse_topology("h100:8"), meshes.create_mesh(), SIZES
        )


def test_fewer_examples_than_a_batch_are_an_error():
    with pytest.raises(ValueError, match="num_examples=15 is less than batch_size=16"):
        plan.make_plan(
            configurations.tiny(batch_size=16),
            chips.parse_topology("h100:8"),
            meshes.create_mesh(),
            dataset_sizes.assumed(num_labels=6, num_examples=15),
        )


def test_sizes_that_are_assumed():
    """All pairs and the self-loops, as long as they are not too many."""
    assert dataset_sizes.assumed(num_labels=40)[:3] == (40, 1_600, None)
    assert dataset_sizes.assumed(num_labels=1)[:2] == (1, 1)
    many = dataset_sizes.assumed(num_labels=10_000)
    assert many.num_edges == 10_010_000 and "1,000 neighbours" in many.edges_from
    given = dataset_sizes.assumed(num_labels=40, num_edges=25, num_examples=9)
    assert given[:3] == (40, 65, 9)
    with pytest.raises(ValueError, match="num_edges=7: between 3 labels are 6 edges"):
        dataset_sizes.assumed(num_labels=3, num_edges=7)


def test_sizes_of_a_dataset(data_dir):
    options = configurations.tiny(data_dir).graph
    data = dataset.open_dataset(data_dir)
    graph, _ = from_dataset.create_label_graph(options, data)
    found = dataset_sizes.of_dataset(data, options)
    assert found == (
        len(data.vocabulary),
        len(graph.senders),
        data.num_examples("train"),
        f"of the dataset {data.directory}",
    )
    options.gamma = 1.0
    assert dataset_sizes.of_dataset(data, options).num_edges < found.num_edges


def test_more_edges_need_more_memory():
    """A head whose edges are messages, not a dense product: 200 labels, few edges."""
    config = configurations.tiny(batch_size=8, model__head="gcn")

    def peak_bytes(num_edges: int) -> int:
        sizes = dataset_sizes.assumed(num_labels=200, num_edges=num_edges)
        topology = chips.parse_topology("h100:8")
        made = plan.make_plan(config, topology, meshes.create_mesh(), sizes)
        assert made["assumptions"]["num_edges"] == num_edges + 200
        return made["peak_bytes_per_chip"]

    assert peak_bytes(2_000) > peak_bytes(200)


@pytest.mark.parametrize(
    ("topology", "raised", "message"),
    [
        ("v5e:3x3", RuntimeError("INVALID_ARGUMENT: not divisible\nmore"), "v5e:3x3"),
        ("h100:8", NotImplementedError("topology not implemented"), "[cuda12]"),
    ],
)
def test_a_compiler_that_refuses_or_is_missing_is_told(
    monkeypatch, topology, raised, message
):
    def refuse(**_):
        raise raised

    monkeypatch.setattr(topologies, "get_topology_desc", refuse)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    with pytest.raises(ValueError, match=re.escape(message)) as info:
        devices.create_mesh(chips.parse_topology(topology), label_shards=1)
    assert "\n" not in str(info.value)


def test_no_libtpu_is_told(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ValueError, match=re.escape("pip install 'mlgcn-jax[tpu]'")):
        devices.create_mesh(chips.parse_topology("v5e:2x4"), label_shards=1)


def test_wrong_calls():
    config = "configs/default.py"
    root = pathlib.Path(__file__).parent.parent
    _, error = mlgcn("plan", config, cwd=root, status=2)
    assert "--topology" in error
    _, error = mlgcn("plan", config, "--topology=h100:x", cwd=root, status=1)
    assert len(error.splitlines()) == 1 and "h100:x" in error
    both = ("--topology=h100:8", "--data_dir=datasets", "--num_edges=3")
    _, error = mlgcn("plan", config, *both, cwd=root, status=2)
    assert "--data_dir says what --num_edges says" in error
