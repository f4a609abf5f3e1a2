"""Weights go to torchvision and ML-GCN and come back, as .pth files too."""

import os
import pathlib
from typing import NamedTuple

import configurations
import golden_case
import jax
import numpy as np
import pytest
import torch
import torchvision
from flax import nnx

from mlgcn_jax.benchmarks import torch_model
from mlgcn_jax.models import registry, torch_weights, weight_files
from mlgcn_jax.runs import train_state


class Zeros(NamedTuple):
    """Variables that are all zero, and whose they are."""

    variables: train_state.Variables
    model: nnx.Module

    def to_torch(self):
        return torch_weights.to_torch(*self.variables, model=self.model)

    def from_torch(self, tensors):
        return torch_weights.from_torch(tensors, *self.variables, model=self.model)


def zeros(config, num_labels: int) -> Zeros:
    graphdef, abstract = train_state.model_structure(config, num_labels=num_labels)
    variables = jax.tree.map(lambda x: np.zeros(x.shape, np.float32), abstract)
    return Zeros(variables, nnx.merge(graphdef, *variables))


def initialised(backbone: str) -> Zeros:
    """With torchvision's linear layer for the thousand classes of ImageNet."""
    config = configurations.tiny(model__backbone=backbone, model__head="linear")
    return zeros(config, 1000)


# Of ConvNeXt we have timm's names: test_timm_parity.
TORCHVISION = sorted(
    name
    for name in registry.BACKBONES
    if hasattr(torchvision.models, name) and not name.startswith("convnext")
)


@pytest.mark.parametrize("name", TORCHVISION)
def test_names_and_shapes_are_those_of_torchvision(name: str):
    with torch.device("meta"):
        network = getattr(torchvision.models, name)()
    expected = {
        key: tuple(value.shape)
        for key, value in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    ours = initialised(name).to_torch()
    assert {key: value.shape for key, value in ours.items()} == expected


@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_a_state_dict_comes_in_and_goes_out(tmp_path: pathlib.Path, suffix: str):
    torch.manual_seed(0)
    network = torchvision.models.densenet121()
    torch.save(network.state_dict(), tmp_path / f"in{suffix}")
    start = initialised("densenet121")
    params, batch_stats, report = start.from_torch(
        weight_files.read(tmp_path / f"in{suffix}")
    )
    assert not report.missing
    out = tmp_path / f"out{suffix}"
    weight_files.write(
        out, torch_weights.to_torch(params, batch_stats, model=start.model)
    )
    again = torchvision.models.densenet121()
    again.load_state_dict(torch.load(out, weights_only=True), strict=True)
    for name, tensor in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "model_state_dict"])
def test_the_checkpoint_of_a_training_script_is_read(tmp_path, wrapper: str):
    """As ML-GCN's engine writes it: wrapped, from nn.DataParallel, with A and more."""
    config = golden_case.make_config()
    model = torch_model.MLGCN(
        torch_model.DENSENETS["densenet_tiny"](),
        golden_case.make_graph(config),
        hidden_features=config.model.hidden_features,
    )
    state = {f"module.{name}": x for name, x in model.half().state_dict().items()}
    state["module.A"] = torch.eye(golden_case.NUM_LABELS)
    path = tmp_path / "checkpoint.pth"
    optimizer = {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 1}]}
    content = {wrapper: state, "epoch": 3, "arch": "x", "optimizer": optimizer}
    torch.save(content, path)
    start = zeros(config, golden_case.NUM_LABELS)
    params, _, report = start.from_torch(weight_files.read(path))
    assert not report.missing
    a = f"{wrapper}.module.A"
    assert report.left_out[a] == "the run has a label graph of its own"
    np.testing.assert_array_equal(
        params["head"]["gc2"]["kernel"], model.gc2.weight.detach().float().numpy()
    )


def test_a_checkpoint_with_an_average_beside_the_weights_is_no_guess(tmp_path):
    """As timm writes it."""
    tensors = initialised("densenet_tiny").to_torch()
    state = {name: torch.from_numpy(x.copy()) for name, x in tensors.items()}
    path = tmp_path / "model_best.pth.tar"
    torch.save({"state_dict": state, "state_dict_ema": state, "epoch": 3}, path)
    message = r"with state_dict\.features\. and with state_dict_ema\.features\."
    with pytest.raises(ValueError, match=message):
        initialised("densenet_tiny").from_torch(weight_files.read(path))


@pytest.mark.filterwarnings("ignore:Validating sparse tensor:UserWarning")
def test_a_sparse_tensor_is_told_by_name(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"a": {"b": torch.eye(3).to_sparse()}}, path)
    with pytest.raises(ValueError, match=r"tensor a\.b is no plain array"):
        weight_files.read(path)


class Command:
    """What a file must never be able to do."""

    def __init__(self, target: pathlib.Path):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_nothing_but_tensors_is_unpickled(tmp_path: pathlib.Path):
    path = tmp_path / "weights.pth"
    torch.save({"a": Command(tmp_path / "made")}, path)
    with pytest.raises(ValueError, match="never unpickled"):
        weight_files.read(path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("kept", [0, 10, 1000, -1000])
def test_a_truncated_pth_is_said_to_be_damaged(tmp_path: pathlib.Path, kept: int):
    path = tmp_path / "weights.pth"
    weight_files.write(path, {"a": np.ones((50, 50), np.float32)})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match="is damaged"):
        weight_files.read(path)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, torch.ones(3)])
def test_a_pth_without_named_tensors_is_refused(tmp_path: pathlib.Path, content):
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    with pytest.raises(ValueError, match="no tensors by name"):
        weight_files.read(path)
