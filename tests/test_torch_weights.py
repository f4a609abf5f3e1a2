"""Weights with PyTorch's names: what is used, left out and refused. Torch-free."""

import configurations
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mlgcn_jax.models import registry, torch_weights

LABELS = 6


def make_variables(**model):
    """Parameters and running statistics at random, as NumPy arrays."""
    overrides = {f"model__{key}": value for key, value in model.items()}
    config = configurations.tiny(**overrides)
    abstract = nnx.eval_shape(
        lambda: registry.create_model(config, num_labels=LABELS, rngs=nnx.Rngs(0))
    )
    rng = np.random.default_rng(0)

    def fill(kind):
        return jax.tree.map(
            lambda x: rng.normal(size=x.shape).astype(np.float32),
            nnx.to_pure_dict(nnx.state(abstract, kind)),
        )

    return fill(nnx.Param), fill(nnx.BatchStat)


def zeros(tree):
    return jax.tree.map(np.zeros_like, tree)


def load(tensors, params, batch_stats):
    return torch_weights.from_torch(tensors, zeros(params), zeros(batch_stats))


@pytest.mark.parametrize("head", ["gcn", "linear"])
@pytest.mark.parametrize("backbone", ["densenet_tiny", "resnet50"])
def test_there_and_back_is_the_same(backbone: str, head: str):
    params, batch_stats = make_variables(backbone=backbone, head=head)
    tensors = torch_weights.to_torch(params, batch_stats)
    again, again_stats, report = load(tensors, params, batch_stats)
    jax.tree.map(np.testing.assert_array_equal, again, params)
    jax.tree.map(np.testing.assert_array_equal, again_stats, batch_stats)
    assert sorted(report.used) == sorted(tensors)
    assert not report.left_out and not report.missing


def test_names_and_layouts_are_those_of_pytorch():
    params, batch_stats = make_variables()
    tensors = torch_weights.to_torch(params, batch_stats)
    features = params["backbone"]["features"]
    conv2 = features["denseblock1"]["denselayer2"]["conv2"]["kernel"]  # [h, w, in, out]
    written = tensors["features.denseblock1.denselayer2.conv2.weight"]
    assert written.shape == (8, 32, 3, 3)
    assert written[5, 7, 0, 2] == conv2[0, 2, 7, 5]
    norm0 = batch_stats["backbone"]["features"]["norm0"]
    np.testing.assert_array_equal(tensors["features.norm0.running_var"], norm0["var"])
    # ML-GCN multiplies from the right too: no transposition.
    np.testing.assert_array_equal(
        tensors["gc1.weight"], params["head"]["gc1"]["kernel"]
    )


@pytest.mark.parametrize(
    ("backbone", "name"), [("densenet_tiny", "classifier"), ("resnet50", "fc")]
)
def test_a_linear_head_has_the_name_of_torchvision(backbone: str, name: str):
    tensors = torch_weights.to_torch(*make_variables(backbone=backbone, head="linear"))
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
    params, batch_stats = make_variables(backbone=backbone)
    tensors = torch_weights.to_torch(params, batch_stats)
    renamed = rename(tensors, function)
    assert renamed.keys() != tensors.keys()
    again, again_stats, report = load(renamed, params, batch_stats)
    jax.tree.map(np.testing.assert_array_equal, again, params)
    jax.tree.map(np.testing.assert_array_equal, again_stats, batch_stats)
    assert sorted(report.used) == sorted(renamed)


def test_the_classifier_of_imagenet_is_left_out_and_said_to_be():
    imagenet = torch_weights.to_torch(*make_variables(head="linear"))
    imagenet["classifier.weight"] = np.ones((1000, 32), np.float32)
    imagenet["features.norm0.num_batches_tracked"] = np.asarray(7)
    params, batch_stats = make_variables(head="linear")
    again, _, report = load(imagenet, params, batch_stats)
    assert report.missing == ["classifier.weight"]
    assert report.left_out == {
        "classifier.weight": "does not fit the head",
        "classifier.bias": "does not fit the head",  # half a head is none
        "features.norm0.num_batches_tracked": "not needed",
    }
    assert not again["head"]["bias"].any()
    jax.tree.map(np.testing.assert_array_equal, again["backbone"], params["backbone"])


def test_half_precision_becomes_float32():
    params, batch_stats = make_variables()
    tensors = torch_weights.to_torch(params, batch_stats)
    half = {name: tensor.astype(jnp.bfloat16) for name, tensor in tensors.items()}
    again, _, _ = load(half, params, batch_stats)
    assert {leaf.dtype for leaf in jax.tree.leaves(again)} == {np.dtype(np.float32)}


def broken(change):
    params, batch_stats = make_variables()
    tensors = torch_weights.to_torch(params, batch_stats)
    change(tensors)
    return lambda: load(tensors, params, batch_stats)


CONV0 = "features.conv0.weight"


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
        (lambda t: t.update({f"module.{CONV0}": t[CONV0]}), "the same name"),
        (lambda t: t.clear(), r"is missing; .*, and \d+ more; set config\.model\.back"),
    ],
    ids=["missing", "shape", "unknown", "twice", "empty"],
)
def test_weights_of_another_model_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        broken(change)()


def test_a_deeper_network_of_the_same_shapes_is_refused():
    """All of ResNet-50 is found in ResNet-101, and means nothing there."""
    deeper = torch_weights.to_torch(*make_variables(backbone="resnet101"))
    with pytest.raises(ValueError, match=r"layer3\.\S+ is unknown"):
        load(deeper, *make_variables(backbone="resnet50"))
