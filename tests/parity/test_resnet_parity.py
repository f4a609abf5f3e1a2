"""ResNet computes what torchvision's does; needs the `torch` extra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torchvision
from flax import nnx

from mlgcn_jax.models import registry

LEAF_NAMES = {"running_mean": "mean", "running_var": "var", "bias": "bias"}


def variables_of(network: torch.nn.Module):
    """Torch's key without its leaf -> our leaf name -> array, classifier left out."""
    variables = {}
    for key, value in network.state_dict().items():
        path, _, leaf = key.rpartition(".")
        if path == "fc" or leaf == "num_batches_tracked":
            continue
        if leaf == "weight" and value.ndim == 4:
            name, value = "kernel", value.permute(2, 3, 1, 0)  # [h, w, in, out]
        else:
            name = "scale" if leaf == "weight" else LEAF_NAMES[leaf]
        node = variables
        for part in path.split("."):
            node = node.setdefault(part, {})
        node[name] = value
    return variables


def arrays_of(network: torch.nn.Module):
    return jax.tree.map(
        lambda x: jnp.asarray(x.numpy(), jnp.float32), variables_of(network)
    )


def flat(tree) -> list[tuple[str, jax.Array]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in leaves]


def random_resnet50() -> torch.nn.Module:
    """Kernels at random, scales and statistics away from 1 and 0."""
    torch.manual_seed(0)
    network = torchvision.models.resnet50()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0.0, 0.2)
            torch.nn.init.normal_(module.running_mean, 0.0, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network


def largest_difference(ours, theirs) -> float:
    """Relative to the largest value."""
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


@pytest.mark.parametrize("name", ["resnet50", "resnet101", "resnet152"])
def test_paths_and_shapes_are_those_of_torchvision(name: str):
    with torch.device("meta"):
        network = getattr(torchvision.models, name)()
    expected = jax.tree.map(lambda x: tuple(x.shape), variables_of(network))
    backbone = nnx.eval_shape(
        lambda: registry.BACKBONES[name](dtype=jnp.float32, rngs=nnx.Rngs(0))
    )
    variables = nnx.to_pure_dict(nnx.state(backbone, (nnx.Param, nnx.BatchStat)))
    assert jax.tree.map(lambda x: x.shape, variables) == expected


# Float64 on their side, so that the rounding is ours alone. Normalising by the batch,
# 16 values a channel at the end, enlarges it: torchvision's own float32 is 1.2e-4 away.
@pytest.mark.parametrize(
    ("train", "tolerance"), [(False, 1e-5), (True, 3e-4)], ids=["eval", "train"]
)
def test_feature_map_is_that_of_torchvision(train: bool, tolerance: float):
    network = random_resnet50().train(train).double()
    before = arrays_of(network)
    image = np.random.default_rng(0).normal(size=(4, 64, 64, 3)).astype(np.float32)

    features = torch.nn.Sequential(*list(network.children())[:-2])  # no pooling, no fc
    with torch.no_grad():
        theirs = torch.from_numpy(image).permute(0, 3, 1, 2)  # [b, 3, h, w]
        expected = features(theirs.double())
    expected = expected.numpy().transpose(0, 2, 3, 1)  # [b, h, w, d]

    @jax.jit
    def forward(variables, image):
        backbone = registry.BACKBONES["resnet50"](dtype=jnp.float32, rngs=nnx.Rngs(0))
        nnx.update(backbone, variables)
        feature_map = backbone(image, train=train)
        return feature_map, nnx.to_pure_dict(nnx.state(backbone, nnx.BatchStat))

    feature_map, batch_stats = forward(before, image)
    assert feature_map.shape == (4, 2, 2, 2048)
    assert largest_difference(feature_map, expected) <= tolerance
    after = dict(flat(arrays_of(network)))
    for path, statistic in flat(batch_stats):
        assert largest_difference(statistic, after[path]) <= tolerance, path
