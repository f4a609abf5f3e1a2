"""Weights with PyTorch's names: what is used, left out and refused. Torch-free."""

import functools
from typing import Any, NamedTuple

import configurations
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mlgcn_jax.models import (
    block_layers,
    graph_convolution,
    layers,
    torch_leaf,
    torch_weights,
)
from mlgcn_jax.runs import train_state

LABELS = 6
CONV = (3, 2, 0, 1)  # [h, w, in, out] -> [out, in, h, w]


class Variables(NamedTuple):
    """Parameters and running statistics, and whose they are."""

    params: dict[str, Any]
    batch_stats: dict[str, Any]
    model: nnx.Module


@functools.cache
def make_variables(**model) -> Variables:
    """At random, as NumPy arrays."""
    overrides = {f"model__{key}": value for key, value in model.items()}
    config = configurations.tiny(**overrides)
    abstract = train_state.abstract_model(config, num_labels=LABELS)
    rng = np.random.default_rng(0)

    def fill(kind):
        return jax.tree.map(
            lambda x: rng.normal(size=x.shape).astype(np.float32),
            nnx.to_pure_dict(nnx.state(abstract, kind)),
        )

    return Variables(fill(nnx.Param), fill(nnx.BatchStat), abstract)


def zeros(tree):
    return jax.tree.map(np.zeros_like, tree)


def to_torch(variables: Variables):
    params, batch_stats, model = variables
    return torch_weights.to_torch(params, batch_stats, model=model)


def load(tensors, variables: Variables):
    params, batch_stats, model = variables
    return torch_weights.from_torch(
        tensors, zeros(params), zeros(batch_stats), model=model
    )


@pytest.mark.parametrize("head", ["gcn", "linear"])
@pytest.mark.parametrize("backbone", ["densenet_tiny", "resnet50"])
def test_there_and_back_is_the_same(backbone: str, head: str):
    variables = make_variables(backbone=backbone, head=head)
    tensors = to_torch(variables)
    again, again_stats, report = load(tensors, variables)
    jax.tree.map(np.testing.assert_array_equal, again, variables.params)
    jax.tree.map(np.testing.assert_array_equal, again_stats, variables.batch_stats)
    assert sorted(report.used) == sorted(tensors)
    assert not report.left_out and not report.missing


def test_names_and_layouts_are_those_of_pytorch():
    variables = make_variables()
    tensors = to_torch(variables)
    features = variables.params["backbone"]["features"]
    conv2 = features["denseblock1"]["denselayer2"]["conv2"]["kernel"]  # [h, w, in, out]
    written = tensors["features.denseblock1.denselayer2.conv2.weight"]
    assert written.shape == (8, 32, 3, 3)
    assert written[5, 7, 0, 2] == conv2[0, 2, 7, 5]
    norm0 = variables.batch_stats["backbone"]["features"]["norm0"]
    np.testing.assert_array_equal(tensors["features.norm0.running_var"], norm0["var"])
    # ML-GCN multiplies from the right too: no transposition.
    np.testing.assert_array_equal(
        tensors["gc1.weight"], variables.params["head"]["gc1"]["kernel"]
    )


@pytest.mark.parametrize(
    ("backbone", "name"), [("densenet_tiny", "classifier"), ("resnet50", "fc")]
)
def test_a_linear_head_has_the_name_of_torchvision(backbone: str, name: str):
    tensors = to_torch(make_variables(backbone=backbone, head="linear"))
    assert {f"{name}.weight", f"{name}.bias"} <= tensors.keys()


def rename(tensors, function):
    return {function(name): tensor for name, tensor in tensors.items()}


def old_name(name: str) -> str:
    for part in ("norm1", "conv1", "norm2", "conv2"):
        if ".denselayer" in name:
            name = name.replace(f".{part}.", f".{part[:-1]}.{part[-1]}.")
    return name


def numbered_name(name: str) -> str:
    children = ("conv1", "bn1", "relu", "maxpool", *(f"layer{i}" for i in range(1, 5)))
    first, _, rest = name.partition(".")
    if first in children:
        return f"features.{children.index(first)}.{rest}"
    return name


@pytest.mark.parametrize(
    ("backbone", "function"),
    [
        ("densenet_tiny", old_name),
        ("densenet_tiny", "module.{}".format),
        ("resnet50", numbered_name),
        ("resnet50", lambda name: f"module.{numbered_name(name)}"),
    ],
    ids=["before-2018", "data-parallel", "ml-gcn", "ml-gcn-data-parallel"],
)
def test_other_names_of_the_same_tensors_are_read(backbone: str, function):
    variables = make_variables(backbone=backbone)
    tensors = to_torch(variables)
    renamed = rename(tensors, function)
    assert renamed.keys() != tensors.keys()
    again, again_stats, report = load(renamed, variables)
    jax.tree.map(np.testing.assert_array_equal, again, variables.params)
    jax.tree.map(np.testing.assert_array_equal, again_stats, variables.batch_stats)
    assert sorted(report.used) == sorted(renamed)


def inside(wrapper: str, part: str):
    """Puts a wrapper behind the first part of the names that begin with `part`."""
    return lambda name: name.replace(f"{part}.", f"{part}.{wrapper}", 1)


@pytest.mark.parametrize(
    ("backbone", "function"),
    [
        ("densenet_tiny", "_orig_mod.{}".format),
        ("densenet_tiny", "module._orig_mod.module.{}".format),
        ("densenet_tiny", "state_dict.model.net.{}".format),
        ("resnet50", "model.{}".format),
        ("resnet50", lambda name: f"model._orig_mod.{numbered_name(name)}"),
        ("densenet_tiny", lambda name: f"_orig_mod.{old_name(name)}"),
        ("densenet_tiny", inside("_orig_mod.", "features")),
        ("densenet_tiny", inside("_checkpoint_wrapped_module.", "denseblock1")),
        ("resnet50", inside("module.", "layer2")),
        ("densenet_tiny", lambda name: name.replace("features.", "encoder.cnn.")),
        ("resnet50", lambda name: numbered_name(name).removeprefix("features.")),
    ],
)
def test_whatever_stands_before_the_names_they_are_read(backbone: str, function):
    variables = make_variables(backbone=backbone)
    renamed = rename(to_torch(variables), function)
    again, again_stats, report = load(renamed, variables)
    jax.tree.map(np.testing.assert_array_equal, again, variables.params)
    jax.tree.map(np.testing.assert_array_equal, again_stats, variables.batch_stats)
    assert sorted(report.used) == sorted(renamed)
    assert not report.left_out


def test_what_is_beside_a_wrapped_backbone_is_left_out_and_said_to_be():
    variables = make_variables()
    tensors = to_torch(variables)
    backbone = {f"net.{n}": x for n, x in tensors.items() if not n.startswith("gc")}
    beside = {"loss.pos_weight": np.ones(6), "n_averaged": np.asarray(3)}
    again, _, report = load({**backbone, **beside}, variables)
    jax.tree.map(
        np.testing.assert_array_equal, again["backbone"], variables.params["backbone"]
    )
    assert report.left_out == dict.fromkeys(
        ["loss.pos_weight", "n_averaged"], "not under net.features."
    )
    assert report.missing == ["gc1.weight", "gc2.weight"]


def test_two_networks_in_a_file_are_told_and_none_is_chosen():
    variables = make_variables()
    tensors = to_torch(variables)
    both = {f"{n}.{k}": x for n in ("student", "teacher") for k, x in tensors.items()}
    message = r"2 times, .* with student\.features\. and with teacher\.features\."
    with pytest.raises(ValueError, match=message):
        load(both, variables)
    # Of other shapes it is no choice.
    both["teacher.features.conv0.weight"] = np.zeros((64, 3, 7, 7), np.float32)
    again, _, _ = load(both, variables)
    jax.tree.map(np.testing.assert_array_equal, again, variables.params)


def test_the_classifier_of_imagenet_is_left_out_and_said_to_be():
    imagenet = to_torch(make_variables(head="linear"))
    imagenet["classifier.weight"] = np.ones((1000, 32), np.float32)
    imagenet["features.norm0.num_batches_tracked"] = np.asarray(7)
    variables = make_variables(head="linear")
    again, _, report = load(imagenet, variables)
    assert report.missing == ["classifier.weight"]
    assert report.left_out == {
        "classifier.weight": "does not fit the head",
        "classifier.bias": "does not fit the head",  # half a head is none
        "features.norm0.num_batches_tracked": "not needed",
    }
    assert not again["head"]["bias"].any()
    jax.tree.map(
        np.testing.assert_array_equal, again["backbone"], variables.params["backbone"]
    )


def test_half_precision_becomes_float32():
    variables = make_variables()
    tensors = to_torch(variables)
    half = {name: tensor.astype(jnp.bfloat16) for name, tensor in tensors.items()}
    again, _, _ = load(half, variables)
    assert {leaf.dtype for leaf in jax.tree.leaves(again)} == {np.dtype(np.float32)}


def broken(change):
    variables = make_variables()
    tensors = to_torch(variables)
    tensors = {name: tensor.copy() for name, tensor in tensors.items()}
    change(tensors)
    return lambda: load(tensors, variables)


CONV0 = "features.conv0.weight"
NORM1 = "features.denseblock1.denselayer1.norm1.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(CONV0), f"{CONV0} is missing"),
        (
            lambda t: t.update({CONV0: t[CONV0][:8]}),
            r"shape \(8, 3, 7, 7\), expected \(16, 3, 7, 7\)",
        ),
        (
            lambda t: t.update({"features.denseblock3.x": np.zeros(3)}),
            r"features\.denseblock3\.x is unknown",
        ),
        (
            lambda t: t.update({NORM1.replace("1.d", "1.module.d"): t[NORM1]}),
            rf"{NORM1} and \S+1\.module\.\S+ mean the same tensor",
        ),
        (
            lambda t: [t.pop(n) for n in [*t] if "norm2" in n] and t.update(x=t[CONV0]),
            r"is missing; .*, and \d+ more \(not used: x\)",
        ),
        (
            lambda t: (t.clear(), t.update({"encoder.stem.w": np.zeros(3)})),
            rf"most of this backbone's names.*found encoder\.stem\.w, expected {CONV0}",
        ),
        (lambda t: t.clear(), r"most of this backbone's names"),
        (lambda t: t[CONV0].__setitem__((3, 2, 1, 0), np.nan), rf"{CONV0} has 1 of "),
        (
            lambda t: t.update({"gc1.weight": t["gc1.weight"] + 1j}),
            r"gc1\.weight has the dtype complex64, expected real",
        ),
        (
            lambda t: t.update({CONV0: t[CONV0].astype(np.int8)}),
            rf"{CONV0} has the dtype int8",
        ),
        (
            lambda t: t.update({CONV0: t[CONV0].astype(np.float64) * 1e39}),
            rf"{CONV0} has \d+ of \d+ values that are not finite",
        ),
    ],
    ids=[
        *("missing", "shape", "unknown", "twice", "half", "other", "empty"),
        *("nan", "complex", "integers", "overflow"),
    ],
)
def test_weights_of_another_model_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        broken(change)()


def test_a_deeper_network_of_the_same_shapes_is_refused():
    """All of ResNet-50 is found in ResNet-101, and means nothing there."""
    deeper = to_torch(make_variables(backbone="resnet101"))
    with pytest.raises(ValueError, match=r"layer3\.\S+ is unknown"):
        load(deeper, make_variables(backbone="resnet50"))


class Scale(nnx.Module):
    """Of somebody else: nobody here knows its variable."""

    def __init__(self):
        self.factor = nnx.Param(jnp.ones(3))


class DeclaredScale(Scale):
    torch_leaves = {"factor": torch_leaf.Leaf("alpha")}  # noqa: RUF012


class Parts(nnx.Module):
    def __init__(self, part):
        self.backbone = nnx.Dict(only=part)


@pytest.mark.parametrize(
    ("make", "axes"),
    [
        (lambda **kwargs: nnx.Linear(2, 3, **kwargs), (1, 0)),
        (lambda **kwargs: layers.Convolution(2, 3, 1, dtype="f4", **kwargs), CONV),
        (lambda **kwargs: block_layers.Linear(2, 3, dtype="f4", **kwargs), (1, 0)),
        (
            lambda **kwargs: block_layers.DepthwiseConvolution(
                3, 7, dtype="f4", **kwargs
            ),
            CONV,
        ),
        (lambda **kwargs: graph_convolution.GraphConvolution(2, 3, **kwargs), (0, 1)),
    ],
)
def test_the_kind_of_a_module_says_the_layout(make, axes):
    model = Parts(make(rngs=nnx.Rngs(0)))
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    kernel = np.asarray(params["backbone"]["only"]["kernel"])
    found = torch_weights.to_torch(params, {}, model=model)["only.weight"]
    np.testing.assert_array_equal(found, kernel.transpose(axes))


def test_a_variable_that_nobody_knows_is_told_by_name():
    model = Parts(Scale())
    with pytest.raises(ValueError, match=r"backbone/only/factor: nobody .* of a Scale"):
        torch_weights.to_torch({}, {}, model=model)
    params = {"backbone": {"only": {"factor": np.ones(3)}}}
    found = torch_weights.to_torch(params, {}, model=Parts(DeclaredScale()))
    assert found.keys() == {"only.alpha"}


def test_two_variables_of_one_name_are_told():
    model = Parts(DeclaredScale())
    model.head = nnx.Dict(only=DeclaredScale())
    message = r"(backbone|head)/only/factor and \S+ would both be only\.alpha"
    with pytest.raises(ValueError, match=message):
        torch_weights.to_torch({}, {}, model=model)
