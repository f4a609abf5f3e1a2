"""A trained ResNet in the form in which it only infers."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
from jaxtyping import Array, Float

from mlgcn_jax.models import contract, folding, forms, layers, resnet


class _Bottleneck(NamedTuple):
    conv1: folding.Convolution
    conv2: folding.Convolution
    conv3: folding.Convolution
    downsample: folding.Convolution | None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _ResNet:
    conv1: folding.Convolution
    layers: list[list[_Bottleneck]]
    form: forms.Form = dataclasses.field(metadata={"static": True})


def fold(backbone: resnet.ResNet) -> Callable:
    """Returns image -> features as a pytree, see `inference.fold_backbone`."""
    folded = []
    for i in range(1, backbone.num_layers + 1):
        layer: resnet.Layer = getattr(backbone, f"layer{i}")
        blocks = [getattr(layer, str(j)) for j in range(layer.num_blocks)]
        folded.append([_fold_bottleneck(block) for block in blocks])
    stem = folding.fold_convolution(backbone.conv1, backbone.bn1)
    net = _ResNet(stem, folded, backbone.form)
    return jax.tree_util.Partial(_run_resnet, net)


def _fold_bottleneck(block: resnet.Bottleneck) -> _Bottleneck:
    downsample = None
    if block.downsample is not None:
        conv, norm = (getattr(block.downsample, name) for name in ("0", "1"))
        downsample = folding.fold_convolution(conv, norm)
    return _Bottleneck(
        folding.fold_convolution(block.conv1, block.bn1),
        folding.fold_convolution(block.conv2, block.bn2),
        folding.fold_convolution(block.conv3, block.bn3),
        downsample,
    )


def _run_resnet(net: _ResNet, image: Float[Array, "b h w 3"]) -> contract.ImageFeatures:
    x = jax.nn.relu(folding.convolve(net.conv1, image, stride=2))
    x = layers.max_pool_3x3_stride_2(x, form=net.form)
    taps = {}
    for i, blocks in enumerate(net.layers):
        for j, block in enumerate(blocks):
            stride = 2 if i > 0 and j == 0 else 1
            shortcut = x
            if block.downsample is not None:
                shortcut = folding.convolve(block.downsample, x, stride=stride)
            x = jax.nn.relu(folding.convolve(block.conv1, x))
            x = jax.nn.relu(folding.convolve(block.conv2, x, stride=stride))
            x = jax.nn.relu(folding.convolve(block.conv3, x) + shortcut)
        taps[f"layer{i + 1}"] = x
    return contract.ImageFeatures(x, taps)
