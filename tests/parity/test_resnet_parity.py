"""ResNet computes what torchvision's does; needs the `torch` extra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
import torch
import torchvision
from flax import nnx

from mlgcn_jax.models import registry, torch_weights


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


# Float64 on their side, so that the rounding is ours alone. Normalising by the batch,
# 16 values a channel at the end, enlarges it: torchvision's own float32 is 1.2e-4 away.
@pytest.mark.parametrize(
    ("train", "tolerance"), [(False, 1e-5), (True, 3e-4)], ids=["eval", "train"]
)
def test_feature_map_is_that_of_torchvision(train: bool, tolerance: float):
    network = random_resnet50().train(train).double()
    before = reference.tensors_of(network)
    image = np.random.default_rng(0).normal(size=(4, 64, 64, 3)).astype(np.float32)

    features = torch.nn.Sequential(*list(network.children())[:-2])  # no pooling, no fc
    with torch.no_grad():
        theirs = torch.from_numpy(image).permute(0, 3, 1, 2)  # [b, 3, h, w]
        expected = features(theirs.double())
    expected = expected.numpy().transpose(0, 2, 3, 1)  # [b, h, w, d]

    backbone = nnx.eval_shape(
        lambda: registry.BACKBONES["resnet50"](dtype=jnp.float32, rngs=nnx.Rngs(0))
    )
    graphdef, *abstract = nnx.split(backbone, nnx.Param, nnx.BatchStat)
    model = nnx.Dict(backbone=backbone)
    zeros = [
        {"backbone": jax.tree.map(lambda x: np.zeros(x.shape), nnx.to_pure_dict(part))}
        for part in abstract
    ]
    params, batch_stats, _ = torch_weights.from_torch(before, *zeros, model=model)

    @jax.jit
    def forward(params, batch_stats, image):
        backbone = nnx.merge(graphdef, params, batch_stats)
        feature_map = backbone(image, train=train).feature_map
        return feature_map, nnx.to_pure_dict(nnx.state(backbone, nnx.BatchStat))

    feature_map, batch_stats = forward(
        params["backbone"], batch_stats["backbone"], image
    )
    assert feature_map.shape == (4, 2, 2, 2048)
    assert largest_difference(feature_map, expected) <= tolerance
    after = reference.tensors_of(network)
    found = torch_weights.to_torch({}, {"backbone": batch_stats}, model=model)
    assert len(found) == 2 * 53  # mean and variance of every norm
    for name, statistic in found.items():
        assert largest_difference(statistic, after[name]) <= tolerance, name
