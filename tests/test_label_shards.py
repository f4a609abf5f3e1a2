"""Labels split over devices: the same numbers, and a fraction of the memory of each."""

import re

import configurations
import crawl_folders
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from run_logs import curves, final_state
from train_steps import Case

from mlgcn_jax.data import dataset
from mlgcn_jax.evaluation import evaluate, scoring
from mlgcn_jax.models import torch_weights, weight_files
from mlgcn_jax.planning import chips, dataset_sizes, plan
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import run_folder, train_state, trained_model
from mlgcn_jax.training import train

HEADS = {
    "linear": {"model__head": "linear"},
    "gcn": {"model__head": "gcn"},
    "learned": {"model__head": "gcn", "graph__embedding": "learned"},
    "one_hot": {"model__head": "gcn", "graph__embedding": "one_hot"},
}


def make_case(head: str, label_shards: int, *, num_labels: int = 24, **more) -> Case:
    # A low rate: Adam makes whole updates of gradients that are but rounding.
    config = configurations.tiny(
        label_shards=label_shards, optimizer__learning_rate=3e-4, **HEADS[head], **more
    )
    mesh = meshes.create_mesh(label_shards=label_shards)
    return Case(config, mesh, num_labels)


def losses_of(case: Case, num_steps: int) -> list[float]:
    return [metrics["loss"] for metrics in case.train(num_steps)[1]]


@pytest.mark.parametrize("head", ["linear", "gcn"])
def test_losses_do_not_depend_on_the_mesh(head):
    """The devices as a grid of (8, 1), (4, 2) and (1, 8), ten steps."""
    expected = losses_of(make_case(head, 1), 10)
    assert expected[-1] < 0.995 * expected[0]  # it learns: updates matter
    for label_shards in (2, 8):
        found = losses_of(make_case(head, label_shards), 10)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_labels_that_do_not_divide_evenly_make_no_difference():
    """23 labels, which no eight devices can share evenly."""
    one, history = make_case("linear", 1, num_labels=23).train(3)
    split, split_history = make_case("linear", 8, num_labels=23).train(3)
    np.testing.assert_allclose(
        [metrics["loss"] for metrics in split_history],
        [metrics["loss"] for metrics in history],
        rtol=1e-5,
    )
    # The first updates are about the rate, 3e-4, whatever the gradient's size.
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=3e-6),
        jax.device_get(split.variables.params["head"]),
        jax.device_get(one.variables.params["head"]),
    )


@pytest.mark.parametrize(
    ("head", "num_arrays"),
    # Parameters, two moments and the average: of kernel and bias, or of one array.
    [("linear", 8), ("learned", 4), ("one_hot", 4), ("gcn", 0)],
)
def test_all_that_has_labels_is_split_and_nothing_else(head, num_arrays):
    case = make_case(head, 4, num_labels=40, optimizer__ema_decay=0.9)
    leaves = jax.tree.leaves(case.abstract_state())
    held = [x.sharding.shard_shape(x.shape)[0] for x in leaves if 40 in x.shape]
    assert held == num_arrays * [10]
    assert all(x.sharding.is_fully_replicated for x in leaves if 40 not in x.shape)
    embeddings = case.graph_on_devices().embeddings
    if embeddings is not None:
        assert embeddings.sharding.shard_shape((40, 5)) == (10, 5)


def test_the_labels_are_found_though_another_dimension_has_as_many():
    """Both kernels of the graph convolutions are 16 wide, and so many labels there."""
    state = make_case("one_hot", 4, num_labels=16).abstract_state()
    first, second = (state.variables.params["head"][name] for name in ("gc1", "gc2"))
    assert first["kernel"].sharding.shard_shape((16, 16)) == (4, 16)
    assert second["kernel"].shape[0] == 16
    assert second["kernel"].sharding.is_fully_replicated


def test_labels_that_do_not_divide_evenly_are_held_by_their_features():
    head = make_case("linear", 8, num_labels=23).abstract_state().variables
    kernel, bias = (head.params["head"][name] for name in ("kernel", "bias"))
    assert kernel.shape == (23, 32)
    assert kernel.sharding.shard_shape((23, 32)) == (23, 4)
    assert bias.sharding.is_fully_replicated


def largest_arrays(hlo: str) -> dict[tuple[int, ...], int]:
    """Shapes of float32 arrays in a program's text -> numbers in them."""
    shapes = {
        tuple(int(size) for size in sizes.split(","))
        for sizes in re.findall(r"\bf32\[([\d,]+)\]", hlo)
    }
    return {shape: int(np.prod(shape)) for shape in shapes}


@pytest.mark.parametrize(("head", "num_labels"), [("linear", 4000), ("gcn", 4003)])
def test_a_device_has_an_eighth_of_what_has_labels(head, num_labels):
    """As compiled: arguments, results, temporaries; and no array is larger."""
    more = {
        "num_labels": num_labels,
        "model__hidden_features": 64,
        "graph__embedding_dim": 48,
    }
    whole = make_case(head, 1, **more).compile().memory_analysis()
    case = make_case(head, 8, **more)
    compiled = case.compile()
    split = compiled.memory_analysis()
    # What is not of labels: state of the backbone and of graph convolutions, edges.
    state = jax.tree.leaves(case.abstract_state())
    others = [x for x in state if num_labels not in x.shape]
    other_bytes = 4 * (sum(x.size for x in others) + 3 * 4 * num_labels)
    held = split.argument_size_in_bytes - other_bytes
    assert held < 0.2 * (whole.argument_size_in_bytes - other_bytes)
    assert split.temp_size_in_bytes < 0.35 * whole.temp_size_in_bytes
    # A device's part of an array of labels and features, where messages go along four
    # edges a label; the stem's map of an image is no larger.
    part = -(-num_labels // 8) * 64
    for shape, size in largest_arrays(compiled.as_text()).items():
        assert size <= 4 * part + 4 * 64, shape


def test_scores_of_split_labels_are_the_same():
    def scores(label_shards: int) -> np.ndarray:
        case = make_case("gcn", label_shards, num_labels=23)
        state, _ = case.train(0)
        graphdef = case.program().graphdef
        scorer = scoring.Scorer(graphdef, case.mesh, image_size=32, batch_size=8)
        scorer.load(state.variables, case.graph_on_devices())
        return scorer(case.batch()["image"][:5])

    expected = scores(1)
    assert expected.shape == (5, 23) and expected.std() > 1e-3
    np.testing.assert_allclose(scores(4), expected, rtol=0, atol=1e-5)


def test_a_run_goes_on_with_other_label_shards(data_dir, tmp_path):
    """Saved with 4, restored with 1 and the other way, evaluated with 1."""
    config = configurations.tiny(data_dir, model__head="linear", num_epochs=3)
    workdirs = [tmp_path / "whole", tmp_path / "moved"]
    assert train.train_and_evaluate(config, workdirs[0]) is None
    for shards, num_epochs in ((4, 1), (1, 2), (2, 3)):
        config = configurations.tiny(
            data_dir, model__head="linear", label_shards=shards, num_epochs=num_epochs
        )
        if num_epochs > 1:  # as a longer run that was stopped would have it
            folder = run_folder.RunFolder(workdirs[1])
            folder.config.write_text(config.to_json())
        assert train.train_and_evaluate(config, workdirs[1]) is None
    losses, moved = (
        [line["loss"] for line in curves(workdir) if "loss" in line]
        for workdir in workdirs
    )
    np.testing.assert_allclose(moved, losses, rtol=1e-4)
    whole, moved = (final_state(workdir).variables.params for workdir in workdirs)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-3), moved, whole
    )
    mesh = meshes.create_mesh()
    model = trained_model.open_run(workdirs[1], mesh)
    results, _ = evaluate.evaluate_run(
        model, dataset.open_dataset(data_dir), mesh, split="validation"
    )
    last = [line for line in curves(workdirs[1]) if "validation/mAP" in line][-1]
    np.testing.assert_allclose(results["mAP"], last["validation/mAP"], rtol=1e-4)


def test_initial_weights_are_split_too(data_dir, tmp_path):
    config = configurations.tiny(
        data_dir, model__head="linear", num_epochs=0, label_shards=2
    )
    assert train.train_and_evaluate(config, tmp_path / "first") is None
    first = final_state(tmp_path / "first").variables
    assert len(crawl_folders.LABELS) % 2 == 0
    model = train_state.abstract_model(config, num_labels=len(crawl_folders.LABELS))
    tensors = torch_weights.to_torch(*first, model=model)
    weight_files.write(tmp_path / "weights.npz", tensors)
    config.initial_weights = str(tmp_path / "weights.npz")
    config.seed = 1
    assert train.train_and_evaluate(config, tmp_path / "second") is None
    second = final_state(tmp_path / "second").variables
    jax.tree.map(np.testing.assert_array_equal, second.params, first.params)


def test_devices_lie_process_by_process():
    """As two processes of four devices have them; JAX need not list them in order."""

    class Device:
        def __init__(self, process_index: int, number: int):
            self.process_index = process_index
            self.id = number

    listed = [Device(i % 2, number=100 * (i % 2) + i) for i in range(8)]
    grid = meshes.arrange(listed, label_shards=2).devices
    assert [[d.id for d in row] for row in grid] == [
        [0, 2],
        [4, 6],
        [101, 103],
        [105, 107],
    ]


@pytest.mark.parametrize("label_shards", [3, 16])
def test_label_shards_that_do_not_divide_the_devices_are_an_error(label_shards):
    message = f"label_shards={label_shards} does not divide 8 devices; use one of 1, 2"
    with pytest.raises(ValueError, match=message):
        meshes.create_mesh(label_shards=label_shards)


def test_a_plan_with_split_labels_has_smaller_chips():
    def make_plan(label_shards: int) -> plan.Plan:
        case = make_case("linear", label_shards, num_labels=20_000)
        return plan.make_plan(
            case.config,
            chips.parse_topology("h100:8"),
            case.mesh,
            dataset_sizes.assumed(num_labels=case.num_labels),
        )

    whole, split = make_plan(1), make_plan(8)
    head_bytes = 4 * 20_000 * 33
    # Parameters and two moments; the gradient comes on top.
    saved = whole["peak_bytes_per_chip"] - split["peak_bytes_per_chip"]
    assert saved > 7 / 8 * 3 * head_bytes
    # All features of 8 images.
    assert split["collectives"]["all-gather"]["bytes"] == 4 * 8 * 32
    assert jnp.isfinite(split["images_per_s_bound"])
