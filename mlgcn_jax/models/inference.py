"""The models in the form in which they only infer: fold once, then run many times.

A trained model's norms are fixed scales and offsets. Those behind a convolution go into
its kernel and a bias; those before one (DenseNet's first norm of a layer) are computed
once; and the label graph becomes one classifier per label. `fold` does that, in float32
whatever the compute type, and what it returns is a pytree that scores images. The plain
form, `MultiLabelModel` with `train=False`, stays the definition: tests compare.

What the CPU's forms gained, DenseNet-121 on two quiet cores: XLA's own products instead
of YNNPACK's 48 -> 35 ms for a picture of 224 px; a few pictures after another 1.22 ->
1.05 s for 32 of them; one buffer for the features of a block 2 to 7 %.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, UInt8

from mlgcn_jax.devices import compiler, target_platform
from mlgcn_jax.graph import label_graph
from mlgcn_jax.models import (
    densenet,
    densenet_folded,
    heads,
    multi_label_model,
    resnet,
    resnet_folded,
)

# What XLA is told when it compiles a folded model for a CPU: to take its own matrix
# products and convolutions and not YNNPACK's, which are its choice by default.
ON_CPU = {compiler.YNN_FUSIONS: ""}

_FOLDS: dict[type, Callable[..., Callable]] = {
    densenet.DenseNet: densenet_folded.fold,
    resnet.ResNet: resnet_folded.fold,
}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FoldedFeatures:
    """Image -> pooled image features.

    Attributes:
        feature_map: normalised image -> feature map, see `fold_backbone`.
        pooling: a key of `multi_label_model.POOLINGS`.
    """

    feature_map: Callable[[Float[Array, "b h w 3"]], Float[Array, "b h2 w2 d"]]
    pooling: str = dataclasses.field(metadata={"static": True})

    def __call__(self, image: UInt8[Array, "b h w 3"]) -> Float[Array, "b d"]:
        """Returns the features, float32.

        On a CPU two pictures after another: what a layer writes is then still in the
        cache when the next one reads it.
        """
        if not _is_on_cpu():
            return self._pooled(image)
        group = 1 if len(image) % 2 else 2
        groups = image.reshape(-1, group, *image.shape[1:])  # [b/2, 2, h, w, 3]
        return lax.map(self._pooled, groups).reshape(len(image), -1)  # [b, d]

    def _pooled(self, image: UInt8[Array, "b h w 3"]) -> Float[Array, "b d"]:
        x = self.feature_map(multi_label_model.normalize(image)).astype(jnp.float32)
        return multi_label_model.POOLINGS[self.pooling](x, axis=(1, 2))


class FoldedModel(NamedTuple):
    """Image -> scores; the label graph has done its part."""

    features: FoldedFeatures
    classifiers: heads.Classifiers  # W

    def __call__(self, image: UInt8[Array, "b h w 3"]) -> Float[Array, "b l"]:
        """Returns sigmoid scores, float32."""
        return self.scores(self.features(image))

    def scores(self, features: Float[Array, "b d"]) -> Float[Array, "b l"]:
        """Returns the sigmoid scores of images with these features."""
        return jax.nn.sigmoid(self.classifiers.logits(features))


def fold(
    model: multi_label_model.MultiLabelModel, graph: label_graph.LabelGraph
) -> FoldedModel:
    """Returns the model in its form for inference.

    Raises:
        NotImplementedError: the backbone has no such form.
    """
    features = FoldedFeatures(fold_backbone(model.backbone), model.pooling)
    return FoldedModel(features, model.classifiers(graph))


def fold_backbone(backbone: multi_label_model.Backbone) -> Callable:
    """Returns normalised image -> feature map as a pytree.

    A `jax.tree_util.Partial` of a module's function: the folded arrays are its leaves,
    and two foldings of one model have the same structure, so that nothing is compiled
    again when parameters have changed.

    Raises:
        NotImplementedError: the backbone has no such form.
    """
    kind = type(backbone)
    if kind not in _FOLDS:
        raise NotImplementedError(
            f"{kind.__name__} has no form for inference; write one and add it to "
            "_FOLDS in models/inference.py"
        )
    return _FOLDS[kind](backbone)


def _is_on_cpu() -> bool:
    """Whether programs are compiled for a CPU, which has forms of its own."""
    return target_platform.target_platform() == "cpu"
