"""What holds for every backbone."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from mlgcn_jax.models import registry

# Published sizes with 1,000 classes, less the classifier.
NUM_PARAMETERS = {
    "densenet_tiny": None,  # ours, no published size
    "densenet121": 7_978_856 - 1024 * 1000 - 1000,
    "densenet169": 14_149_480 - 1664 * 1000 - 1000,
    "densenet201": 20_013_928 - 1920 * 1000 - 1000,
    "resnet50": 25_557_032 - 2048 * 1000 - 1000,
    "resnet101": 44_549_160 - 2048 * 1000 - 1000,
    "resnet152": 60_192_808 - 2048 * 1000 - 1000,
    "convnext_test": None,
    "convnext_tiny": 28_589_128 - 768 * 1000 - 1000,
    "convnext_small": 50_223_688 - 768 * 1000 - 1000,
    "convnext_base": 88_591_464 - 1024 * 1000 - 1000,
    "convnext_base_wd": 88_591_464 - 1024 * 1000 - 1000,
    "vit_test_patch16": None,
    "vit_tiny_patch16": 5_717_416 - 192 * 1000 - 1000,
    "vit_small_patch16": 22_050_664 - 384 * 1000 - 1000,
    "vit_base_patch16": 86_567_656 - 768 * 1000 - 1000,
    # No class token, and no position for it.
    "vit_base_patch16_wd": 86_567_656 - 768 * 1000 - 1000 - 2 * 768,
}
# A leaf of every kind of submodule, under the path that torchvision gives it.
PATHS = {
    "densenet121": (
        "features/conv0/kernel",
        "features/norm0/scale",
        "features/denseblock1/denselayer1/norm1/scale",
        "features/denseblock3/denselayer24/conv2/kernel",
        "features/transition3/conv/kernel",
        "features/norm5/bias",
    ),
    "resnet101": (
        "conv1/kernel",
        "bn1/scale",
        "layer1/0/downsample/0/kernel",
        "layer1/0/downsample/1/bias",
        "layer3/22/conv3/kernel",
        "layer4/2/bn3/scale",
    ),
}


def structure(name: str):
    return nnx.eval_shape(
        lambda: registry.BACKBONES[name](dtype=jnp.float32, rngs=nnx.Rngs(0))
    )


def test_every_backbone_is_in_the_table():
    assert NUM_PARAMETERS.keys() == registry.BACKBONES.keys()


@pytest.mark.parametrize("name", sorted(registry.BACKBONES))
def test_a_backbone_has_its_published_size(name: str):
    params = nnx.to_pure_dict(nnx.state(structure(name), nnx.Param))
    expected = NUM_PARAMETERS[name]
    if expected is not None:
        assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected


@pytest.mark.parametrize("name", sorted(PATHS))
def test_submodules_have_torchvision_names(name: str):
    params = nnx.to_pure_dict(nnx.state(structure(name), nnx.Param))
    paths = {
        "/".join(key.key for key in path)
        for path, _ in jax.tree_util.tree_leaves_with_path(params)
    }
    assert paths >= set(PATHS[name])


@pytest.mark.parametrize(
    "name",
    [name for name in sorted(registry.BACKBONES) if not name.startswith("vit")],
)
def test_smallest_image_is_the_smallest(name: str):
    backbone = structure(name)
    smallest = backbone.min_image_size_px
    for size, expected in ((smallest, 1), (smallest - 1, 0)):
        image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
        features = nnx.eval_shape(lambda m, x: m(x, train=False), backbone, image)
        assert features.feature_map.shape == (
            1,
            expected,
            expected,
            backbone.num_features,
        )
