"""The models in the form in which they only infer: fold once, then run many times.

A trained model's norms are fixed scales and offsets. Those behind a convolution go into
its kernel and a bias; those before one (DenseNet's first norm of a layer) are computed
once; and the label graph becomes one classifier per label. `fold` does that, in float32
whatever the compute type, and what it returns is a pytree that scores images. The plain
form, `MultiLabelModel` with `train=False`, stays the definition: tests compare.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, UInt8

from mlgcn_jax.graph import label_graph
from mlgcn_jax.models import (
    densenet,
    heads,
    layers,
    multi_label_model,
    resnet,
    target_platform,
)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FoldedModel:
    """Image -> scores; the label graph has done its part.

    Attributes:
        feature_map: normalised image -> feature map, see `fold_backbone`.
        classifiers: W.
        pooling: a key of `multi_label_model.POOLINGS`.
    """

    feature_map: Callable[[Float[Array, "b h w 3"]], Float[Array, "b h2 w2 d"]]
    classifiers: heads.Classifiers
    pooling: str = dataclasses.field(metadata={"static": True})

    def __call__(self, image: UInt8[Array, "b h w 3"]) -> Float[Array, "b l"]:
        """Returns sigmoid scores, float32.

        On a CPU two pictures after another: what a layer writes is then still in the
        cache when the next one reads it.
        """
        if not is_on_cpu():
            return self._scores(image)
        group = 1 if len(image) % 2 else 2
        groups = image.reshape(-1, group, *image.shape[1:])  # [b/2, 2, h, w, 3]
        scores = lax.map(self._scores, groups)
        return scores.reshape(len(image), -1)  # [b, l]

    def _scores(self, image: UInt8[Array, "b h w 3"]) -> Float[Array, "b l"]:
        x = self.feature_map(multi_label_model.normalize(image)).astype(jnp.float32)
        pooled = multi_label_model.POOLINGS[self.pooling](x, axis=(1, 2))
        return jax.nn.sigmoid(self.classifiers.logits(pooled))


def fold(
    model: multi_label_model.MultiLabelModel, graph: label_graph.LabelGraph
) -> FoldedModel:
    """Returns the model in its form for inference.

    Raises:
        NotImplementedError: the backbone has no such form.
    """
    return FoldedModel(
        fold_backbone(model.backbone), model.classifiers(graph), model.pooling
    )


def is_on_cpu() -> bool:
    """Whether programs are compiled for a CPU, which has forms of its own."""
    return target_platform.target_platform() == "cpu"


def compiler_options() -> dict[str, bool | str]:
    """Returns what XLA shall be told when it compiles a folded model.

    On a CPU to take its own matrix products and convolutions: with those of YNNPACK,
    its choice by default, a picture of 224 px took DenseNet-121 48 ms and not 35, on
    two quiet cores.
    """
    return {"xla_cpu_experimental_ynn_fusion_type": ""} if is_on_cpu() else {}


class Norm(NamedTuple):
    """A norm in evaluation: `x * scale + offset`, float32."""

    scale: Float[Array, " c"]
    offset: Float[Array, " c"]


class Convolution(NamedTuple):
    """A kernel in the compute type and the float32 bias that a norm left."""

    kernel: Float[Array, "k k c c2"]
    bias: Float[Array, " c2"]


def _fold_norm(norm: layers.BatchNorm) -> Norm:
    running = layers.Statistics(norm.mean[...], norm.var[...])
    return Norm(*layers.scale_and_offset(norm.scale[...], norm.bias[...], running))


def _fold_convolution(conv: layers.Convolution, norm: layers.BatchNorm) -> Convolution:
    """Returns the convolution that does the work of the norm behind it as well."""
    scale, offset = _fold_norm(norm)
    kernel = conv.kernel[...] * scale[None, None, None, :]
    return Convolution(kernel.astype(conv.dtype), offset)


def _kernel(conv: layers.Convolution) -> Float[Array, "k k c c2"]:
    return conv.kernel[...].astype(conv.dtype)


def _normalize(norm: Norm, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Returns norm and ReLU of x, in its type."""
    scale, offset = (values[None, None, None, :] for values in norm)
    return jax.nn.relu(x.astype(jnp.float32) * scale + offset).astype(x.dtype)


def _convolve(
    conv: Convolution, x: Float[Array, "b h w c"], *, stride: int = 1
) -> Float[Array, "b h2 w2 c2"]:
    """Returns convolution plus bias, in the kernel's type."""
    y = layers.convolve(x, conv.kernel, stride=stride)
    return (y.astype(jnp.float32) + conv.bias[None, None, None, :]).astype(y.dtype)


@functools.singledispatch
def fold_backbone(backbone: multi_label_model.Backbone) -> Callable:
    """Returns normalised image -> feature map as a pytree.

    A `jax.tree_util.Partial` of a function of this module: the folded arrays are its
    leaves, and two foldings of one model have the same structure, so that nothing is
    compiled again when parameters have changed.
    """
    raise NotImplementedError(
        f"{type(backbone).__name__} has no form for inference; register one with "
        "fold_backbone in models/inference.py"
    )


# --- DenseNet ---


class _DenseLayer(NamedTuple):
    norm1: Norm
    conv1: Convolution  # with norm2
    conv2: Float[Array, "3 3 k growth_rate"]


class _Transition(NamedTuple):
    norm: Norm
    conv: Float[Array, "1 1 c c2"]


class _DenseNet(NamedTuple):
    conv0: Convolution  # with norm0
    blocks: list[list[_DenseLayer]]
    transitions: list[_Transition]  # one less than blocks
    norm5: Norm


@fold_backbone.register
def _(backbone: densenet.DenseNet) -> Callable:
    features = backbone.features
    blocks, transitions = [], []
    for i in range(1, features.num_blocks + 1):
        block: densenet.DenseBlock = getattr(features, f"denseblock{i}")
        folded = []
        for j in range(1, block.num_layers + 1):
            layer: densenet.DenseLayer = getattr(block, f"denselayer{j}")
            folded.append(
                _DenseLayer(
                    _fold_norm(layer.norm1),
                    _fold_convolution(layer.conv1, layer.norm2),
                    _kernel(layer.conv2),
                )
            )
        blocks.append(folded)
        if i < features.num_blocks:
            transition: densenet.Transition = getattr(features, f"transition{i}")
            transitions.append(
                _Transition(_fold_norm(transition.norm), _kernel(transition.conv))
            )
    stem = _fold_convolution(features.conv0, features.norm0)
    folded = _DenseNet(stem, blocks, transitions, _fold_norm(features.norm5))
    return jax.tree_util.Partial(_run_densenet, folded)


def _run_densenet(
    net: _DenseNet, image: Float[Array, "b h w 3"]
) -> Float[Array, "b h2 w2 d"]:
    x = jax.nn.relu(_convolve(net.conv0, image, stride=2))
    x = layers.max_pool_3x3_stride_2(x)
    for i, block in enumerate(net.blocks):
        x = _run_dense_block(block, x)
        if i < len(net.transitions):
            norm, kernel = net.transitions[i]
            x = layers.average_pool_2x2(_normalize(norm, x))
            x = layers.convolve(x, kernel)
    return _normalize(net.norm5, x)


def _run_dense_block(
    block: list[_DenseLayer], x: Float[Array, "b h w c"]
) -> Float[Array, "b h w c2"]:
    """Returns all features: on a CPU in one buffer, elsewhere joined layer by layer."""
    if is_on_cpu():
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
    x = jax.nn.relu(_convolve(layer.conv1, _normalize(layer.norm1, x)))
    return layers.convolve(x, layer.conv2)


# --- ResNet ---


class _Bottleneck(NamedTuple):
    conv1: Convolution
    conv2: Convolution
    conv3: Convolution
    downsample: Convolution | None


class _ResNet(NamedTuple):
    conv1: Convolution
    layers: list[list[_Bottleneck]]


@fold_backbone.register
def _(backbone: resnet.ResNet) -> Callable:
    folded = []
    for i in range(1, backbone.num_layers + 1):
        layer: resnet.Layer = getattr(backbone, f"layer{i}")
        blocks = [getattr(layer, str(j)) for j in range(layer.num_blocks)]
        folded.append([_fold_bottleneck(block) for block in blocks])
    net = _ResNet(_fold_convolution(backbone.conv1, backbone.bn1), folded)
    return jax.tree_util.Partial(_run_resnet, net)


def _fold_bottleneck(block: resnet.Bottleneck) -> _Bottleneck:
    downsample = None
    if block.downsample is not None:
        conv, norm = (getattr(block.downsample, name) for name in ("0", "1"))
        downsample = _fold_convolution(conv, norm)
    return _Bottleneck(
        _fold_convolution(block.conv1, block.bn1),
        _fold_convolution(block.conv2, block.bn2),
        _fold_convolution(block.conv3, block.bn3),
        downsample,
    )


def _run_resnet(
    net: _ResNet, image: Float[Array, "b h w 3"]
) -> Float[Array, "b h2 w2 d"]:
    x = jax.nn.relu(_convolve(net.conv1, image, stride=2))
    x = layers.max_pool_3x3_stride_2(x)
    for i, blocks in enumerate(net.layers):
        for j, block in enumerate(blocks):
            stride = 2 if i > 0 and j == 0 else 1
            shortcut = x
            if block.downsample is not None:
                shortcut = _convolve(block.downsample, x, stride=stride)
            x = jax.nn.relu(_convolve(block.conv1, x))
            x = jax.nn.relu(_convolve(block.conv2, x, stride=stride))
            x = jax.nn.relu(_convolve(block.conv3, x) + shortcut)
    return x
