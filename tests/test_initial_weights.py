"""A run that starts from a file of weights, and a file that is written from a run."""

import hashlib
import json
import pathlib

import configurations
import jax
import numpy as np
import pytest
from absl import app
from flax import nnx

from mlgcn_jax.commands import weights
from mlgcn_jax.models import torch_weights, weight_files
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import run_folder, train_state, trained_model
from mlgcn_jax.training import initial_weights, train


@pytest.fixture(scope="module")
def run(data_dir, tmp_path_factory) -> pathlib.Path:
    workdir = tmp_path_factory.mktemp("run")
    assert train.train_and_evaluate(configurations.tiny(data_dir), workdir) is None
    return workdir


def open_model(workdir: pathlib.Path) -> trained_model.TrainedModel:
    return trained_model.open_run(workdir, meshes.create_mesh())


def assert_same(tree, other):
    jax.tree.map(np.testing.assert_array_equal, tree, other)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_run_goes_out_and_comes_back_in(run, data_dir, tmp_path, capsys, suffix):
    out = tmp_path / f"weights{suffix}"
    weights.main(["mlgcn weights", str(run), str(out)])
    assert str(out) in capsys.readouterr().out
    config = configurations.tiny(
        data_dir, num_epochs=0, initial_weights=str(out), optimizer__ema_decay=0.9
    )
    assert train.train_and_evaluate(config, tmp_path / "again") is None
    before, after = open_model(run), open_model(tmp_path / "again")
    assert after.step == 0
    assert_same(after.variables, before.variables)
    report = json.loads(
        run_folder.RunFolder(tmp_path / "again").initial_weights.read_text()
    )
    assert report["file"] == str(out)
    assert not report["missing"] and not report["left_out"]
    # Once more, with the file elsewhere: nothing is left to do.
    config.initial_weights = str(out.rename(tmp_path / f"moved{suffix}"))
    assert train.train_and_evaluate(config, tmp_path / "again") is None


def test_fine_tuning_with_a_frozen_backbone_moves_the_head_alone(
    run, data_dir, tmp_path
):
    out = tmp_path / "backbone.npz"
    model = open_model(run)
    tensors = torch_weights.to_torch(
        *model.variables, model=nnx.merge(model.graphdef, *model.variables)
    )
    backbone = {name: t for name, t in tensors.items() if name.startswith("features")}
    weight_files.write(out, backbone)
    config = configurations.tiny(
        data_dir, initial_weights=str(out), optimizer__frozen_backbone_epochs=2
    )
    train.train_and_evaluate(config, tmp_path / "tuned")
    tuned, before = open_model(tmp_path / "tuned").variables, open_model(run).variables
    assert_same(tuned.params["backbone"], before.params["backbone"])
    initial = tmp_path / "initial"
    config.num_epochs = 0
    train.train_and_evaluate(config, initial)
    start, moved = open_model(initial).variables.params, tuned.params
    assert np.abs(start["head"]["gc1"]["kernel"] - moved["head"]["gc1"]["kernel"]).max()


def test_a_file_of_another_model_stops_the_run_before_it_starts(data_dir, tmp_path):
    path = tmp_path / "weights.npz"
    weight_files.write(path, {"features.conv0.weight": np.zeros((64, 3, 7, 7))})
    config = configurations.tiny(data_dir, initial_weights=str(path))
    with pytest.raises(ValueError, match=r"initial_weights=.*weights\.npz.*expected"):
        train.train_and_evaluate(config, tmp_path / "run")
    config.initial_weights = str(tmp_path / "none.npz")
    with pytest.raises(FileNotFoundError, match="no file of weights"):
        train.train_and_evaluate(config, tmp_path / "run")


def test_a_file_is_checked_without_a_run(tmp_path):
    backbone = zeros("densenet_tiny")
    path = tmp_path / "weights.npz"
    weight_files.write(path, backbone)
    initial_weights.check(path, configurations.tiny())
    message = (
        r"most of this backbone's names.* those of config.model.backbone=densenet_"
    )
    with pytest.raises(ValueError, match=message):
        initial_weights.check(path, configurations.tiny(model__backbone="resnet50"))


def test_a_file_that_differs_between_processes_is_refused(
    data_dir, tmp_path, monkeypatch
):
    path = tmp_path / "weights.npz"
    weight_files.write(path, zeros("densenet_tiny"))
    config = configurations.tiny(data_dir, initial_weights=str(path), num_epochs=0)
    first_has = int(hashlib.sha256(b"another file").hexdigest()[:7], 16)
    monkeypatch.setattr(
        initial_weights.processes, "agree", lambda x: first_has if x > 0 else x
    )
    with pytest.raises(
        ValueError, match=r"weights\.npz has other content on this mach"
    ):
        train.train_and_evaluate(config, tmp_path / "run")


def zeros(backbone: str) -> dict[str, np.ndarray]:
    config = configurations.tiny(model__backbone=backbone)
    graphdef, abstract = train_state.model_structure(config, num_labels=6)
    variables = jax.tree.map(lambda x: np.zeros(x.shape, np.float32), abstract)
    return torch_weights.to_torch(*variables, model=nnx.merge(graphdef, *variables))


def test_a_wrong_call_is_told(run, tmp_path):
    with pytest.raises(app.UsageError, match="a run and a file"):
        weights.main(["mlgcn weights", str(run)])
    with pytest.raises(ValueError, match=r"expected \.npz"):
        weights.main(["mlgcn weights", str(run), str(tmp_path / "weights.txt")])
