"""The whole model: backbone, global pooling and head (Fig. 2 of the paper)."""

from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, UInt8

from mlgcn_jax.graph import label_graph
from mlgcn_jax.models import heads, mesh_axes

# Channel statistics of ImageNet, which pretrained backbones expect; pixels in 0..1.
PIXEL_MEAN = (0.485, 0.456, 0.406)
PIXEL_STD = (0.229, 0.224, 0.225)

POOLINGS = {"max": jnp.max, "average": jnp.mean}


def normalize(image: UInt8[Array, "b h w 3"]) -> Float[Array, "b h w 3"]:
    """Returns pixels as pretrained backbones expect them, float32."""
    mean = jnp.asarray(PIXEL_MEAN)[None, None, None, :]
    std = jnp.asarray(PIXEL_STD)[None, None, None, :]
    return (image.astype(jnp.float32) / 255.0 - mean) / std


@runtime_checkable
class Backbone(Protocol):
    """What a backbone offers; see `densenet.DenseNet`."""

    num_features: int
    min_image_size_px: int

    def __call__(
        self, image: Float[Array, "b h w 3"], *, train: bool
    ) -> Float[Array, "b h2 w2 d"]:
        """Returns the feature map of a normalised image."""
        ...


@runtime_checkable
class Head(Protocol):
    """What a head offers; see `heads.GCNHead`."""

    def __call__(self, graph: label_graph.LabelGraph) -> heads.Classifiers:
        """Returns one classifier per label."""
        ...


class MultiLabelModel(nnx.Module):
    """Image and label graph -> logits."""

    def __init__(self, backbone: Backbone, head: Head, *, pooling: str):
        """Joins a backbone and a head; `pooling` is a key of `POOLINGS`."""
        self.backbone = backbone
        self.head = head
        self.pooling = pooling

    def check_image_size(self, image_size: int) -> None:
        """Raises ValueError where images with such a side leave no feature map."""
        smallest = self.backbone.min_image_size_px
        if image_size < smallest:
            raise ValueError(
                f"images of {image_size} px leave no feature map; this backbone needs "
                f"at least {smallest} px: set config.image_size"
            )

    def features(
        self, image: UInt8[Array, "b h w 3"], *, train: bool
    ) -> Float[Array, "b d"]:
        """Returns the pooled image features (Eq. 3), float32.

        Raises:
            ValueError: the image is smaller than the backbone can take.
        """
        self.check_image_size(min(image.shape[1:3]))
        feature_map = self.backbone(normalize(image), train=train).astype(jnp.float32)
        return POOLINGS[self.pooling](feature_map, axis=(1, 2))

    def classifiers(self, graph: label_graph.LabelGraph) -> heads.Classifiers:
        """Returns the classifiers; compute them once where parameters stay the same."""
        return jax.tree.map(
            lambda x: mesh_axes.lay_out(x, mesh_axes.LABEL_AXIS), self.head(graph)
        )

    def __call__(
        self,
        image: UInt8[Array, "b h w 3"],
        graph: label_graph.LabelGraph,
        *,
        train: bool,
    ) -> Float[Array, "b l"]:
        """Returns the logits, float32."""
        return self.classifiers(graph).logits(self.features(image, train=train))
