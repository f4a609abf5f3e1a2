"""A trained DenseNet in the form in which it only infers."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from mlgcn_jax.models import contract, densenet, folding, forms, layers


class _DenseLayer(NamedTuple):
    norm1: folding.Norm
    conv1: folding.Convolution  # with norm2
    conv2: Float[Array, "3 3 k growth_rate"]


class _Transition(NamedTuple):
    norm: folding.Norm
    conv: Float[Array, "1 1 c c2"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _DenseNet:
    conv0: folding.Convolution  # with norm0
    blocks: list[list[_DenseLayer]]
    transitions: list[_Transition]  # one less than blocks
    norm5: folding.Norm
    form: forms.Form = dataclasses.field(metadata={"static": True})


def fold(backbone: densenet.DenseNet) -> Callable:
    """Returns image -> features as a pytree, see `inference.fold_backbone`."""
    features = backbone.features
    blocks, transitions = [], []
    for i in range(1, features.num_blocks + 1):
        block: densenet.DenseBlock = getattr(features, f"denseblock{i}")
        folded = []
        for j in range(1, block.num_layers + 1):
            layer: densenet.DenseLayer = getattr(block, f"denselayer{j}")
            folded.append(
                _DenseLayer(
                    folding.fold_norm(layer.norm1),
                    folding.fold_convolution(layer.conv1, layer.norm2),
                    folding.kernel_of(layer.conv2),
                )
            )
        blocks.append(folded)
        if i < features.num_blocks:
            transition: densenet.Transition = getattr(features, f"transition{i}")
            transitions.append(
                _Transition(
                    folding.fold_norm(transition.norm),
                    folding.kernel_of(transition.conv),
                )
            )
    stem = folding.fold_convolution(features.conv0, features.norm0)
    norm5 = folding.fold_norm(features.norm5)
    folded = _DenseNet(stem, blocks, transitions, norm5, backbone.form)
    return jax.tree_util.Partial(_run_densenet, folded)


def _run_densenet(
    net: _DenseNet, image: Float[Array, "b h w 3"]
) -> contract.ImageFeatures:
    x = jax.nn.relu(folding.convolve(net.conv0, image, stride=2))
    x = layers.max_pool_3x3_stride_2(x, form=net.form)
    taps = {}
    for i, block in enumerate(net.blocks):
        x = taps[f"denseblock{i + 1}"] = _run_dense_block(block, x, net.form)
        if i < len(net.transitions):
            norm, kernel = net.transitions[i]
            x = layers.average_pool_2x2(folding.normalize(norm, x))
            x = layers.convolve(x, kernel)
    return contract.ImageFeatures(folding.normalize(net.norm5, x), taps)


def _run_dense_block(
    block: list[_DenseLayer], x: Float[Array, "b h w c"], form: forms.Form
) -> Float[Array, "b h w c2"]:
    """Returns all features: on a CPU in one buffer, elsewhere joined layer by layer."""
    if form == "cpu":
        num_new = sum(layer.conv2.shape[-1] for layer in block)
        features = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, num_new)))
        for layer in block:
            known = len(layer.norm1.scale)
            new = _new_features(layer, features[..., :known])
            features = lax.dynamic_update_slice(features, new, (0, 0, 0, known))
        return features
    for layer in block:
        x = jnp.concatenate([x, _new_features(layer, x)], axis=-1)
    return x


def _new_features(
    layer: _DenseLayer, x: Float[Array, "b h w c"]
) -> Float[Array, "b h w growth_rate"]:
    x = folding.normalize(layer.norm1, x)
    x = jax.nn.relu(folding.convolve(layer.conv1, x))
    return layers.convolve(x, layer.conv2)
