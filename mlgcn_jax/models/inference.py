"""The models in the form in which they only infer: fold once, then run many times.

A trained model's norms are fixed scales and offsets. Those behind a convolution go into
its kernel and a bias; those before one (DenseNet's first norm of a layer) are computed
once; and the label graph becomes the head's scorer. `fold` does that, in float32
whatever the compute type, and what it returns is a pytree that scores images. The plain
form, `MultiLabelModel` with `train=False`, stays the definition: tests compare.

What is done for CPUs, DenseNet-121 on two cores: XLA's own products, not YNNPACK's,
48 -> 35 ms for a picture of 224 px; a few pictures after another 1.76 -> 1.56 s for
eight of 512 px, and no less for 32 of 224; one buffer for the features of a block 5 to
9 %. 1x1 convolutions as products gained nothing here and are gone.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from flax import nnx
from jax import lax
from jaxtyping import Array, Float, UInt8

from mlgcn_jax.devices import compiler
from mlgcn_jax.graph import label_graph
from mlgcn_jax.models import (
    contract,
    densenet,
    densenet_folded,
    forms,
    multi_label_model,
    normalization,
    resnet,
    resnet_folded,
)

# What XLA is told when it compiles a folded model for a CPU: to take its own matrix
# products and convolutions and not YNNPACK's, which are its choice by default.
ON_CPU = {compiler.YNN_FUSIONS: ""}

# Kind of backbone -> its folded form. One that has none infers in its plain form.
_FOLDS: dict[type, Callable[..., Callable]] = {
    densenet.DenseNet: densenet_folded.fold,
    resnet.ResNet: resnet_folded.fold,
}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FoldedFeatures:
    """Image -> what the scorer reads of it.

    Attributes:
        backbone: normalised image -> features, see `fold_backbone`.
        norm: of a pooled feature map; None: there is none.
        tap_names: of the taps that the scorer reads.
        normalize: what images are normalised by.
        form: of the layers.
    """

    backbone: Callable[[Float[Array, "b h w 3"]], contract.ImageFeatures]
    norm: Any
    tap_names: tuple[str, ...] = dataclasses.field(metadata={"static": True})
    normalize: normalization.Normalization = dataclasses.field(
        metadata={"static": True}
    )
    form: forms.Form = dataclasses.field(metadata={"static": True})

    def __call__(self, image: UInt8[Array, "b h w 3"]) -> contract.ImageFeatures:
        """Returns the features, the map float32.

        On a CPU two pictures after another: what a layer writes is then still in the
        cache when the next one reads it.
        """
        if self.form != "cpu":
            return self._of(image)._replace(norm=self.norm)
        group = 1 if len(image) % 2 else 2
        groups = image.reshape(-1, group, *image.shape[1:])  # [b/2, 2, h, w, 3]
        features = jax.tree.map(
            lambda x: x.reshape(-1, *x.shape[2:]),  # [b, h, w, d]
            lax.map(self._of, groups),
        )
        return features._replace(norm=self.norm)

    def _of(self, image: UInt8[Array, "b h w 3"]) -> contract.ImageFeatures:
        features = self.backbone(self.normalize(image))
        return contract.select(features, self.tap_names)


class FoldedModel(NamedTuple):
    """Image -> scores; the label graph has done its part."""

    features: FoldedFeatures
    scorer: contract.Scorer

    def __call__(self, image: UInt8[Array, "b h w 3"]) -> Float[Array, "b l"]:
        """Returns sigmoid scores, float32."""
        return self.scores(self.features(image))

    def scores(self, features: contract.ImageFeatures) -> Float[Array, "b l"]:
        """Returns the sigmoid scores of images with these features."""
        return jax.nn.sigmoid(self.scorer(features, contract.Context()).logits)


def fold(
    model: multi_label_model.MultiLabelModel, graph: label_graph.LabelGraph
) -> FoldedModel:
    """Returns the model in its form for inference."""
    features = FoldedFeatures(
        fold_backbone(model.backbone),
        model.backbone.norm_after_pooling,
        model.head.tap_names,
        model.normalize,
        model.form,
    )
    return FoldedModel(features, model.scorer(graph))


def fold_backbone(backbone: contract.Backbone) -> Callable:
    """Returns normalised image -> features as a pytree.

    A `jax.tree_util.Partial` of a module's function: the folded arrays are its leaves,
    and two foldings of one model have the same structure, so that nothing is compiled
    again when parameters have changed. A backbone without a folded form infers as it
    is.
    """
    if fold_it := _FOLDS.get(type(backbone)):
        return fold_it(backbone)
    graphdef, state = nnx.split(backbone)
    return jax.tree_util.Partial(_run_as_it_is, graphdef, state)


def _run_as_it_is(
    graphdef: nnx.GraphDef, state: Any, image: Float[Array, "b h w 3"]
) -> contract.ImageFeatures:
    return nnx.merge(graphdef, state)(image, train=False)
