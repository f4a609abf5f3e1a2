"""The whole model: backbone and head (Fig. 2 of the paper)."""

from flax import nnx
from jaxtyping import Array, Float, Key, UInt8

from mlgcn_jax.graph import label_graph
from mlgcn_jax.models import contract, forms, normalization


class MultiLabelModel(nnx.Module):
    """Image and label graph -> logits."""

    def __init__(
        self,
        backbone: contract.Backbone,
        head: contract.Head,
        *,
        normalize: normalization.Normalization,
        form: forms.Form = "plain",
    ):
        """Joins a backbone, what its images are normalised by, and a head.

        `form` is that of the folded model, see `inference`; the backbone has its own.

        Raises:
            ValueError: the head reads what the backbone does not hand out.
        """
        if missing := set(head.tap_names) - set(backbone.tap_names):
            raise ValueError(
                f"{type(head).__name__} reads {sorted(missing)} of the backbone, and "
                f"{type(backbone).__name__} has {sorted(backbone.tap_names)}; use "
                "another config.model.backbone or config.model.head"
            )
        self.backbone = backbone
        self.head = head
        self.normalize = nnx.static(normalize)
        self.form: forms.Form = form

    def check_image_size(self, image_size: int) -> None:
        """Raises ValueError where images with such a side leave no feature map."""
        smallest = self.backbone.min_image_size_px
        if image_size < smallest:
            raise ValueError(
                f"images of {image_size} px leave no feature map; this backbone needs "
                f"at least {smallest} px: set config.image_size"
            )

    def features(
        self,
        image: UInt8[Array, "b h w 3"],
        *,
        train: bool,
        key: Key[Array, ""] | None = None,
    ) -> contract.ImageFeatures:
        """Returns what the scorer reads: the feature map, float32, taps, norm.

        Raises:
            ValueError: the image is smaller than the backbone can take.
        """
        self.check_image_size(min(image.shape[1:3]))
        features = self.backbone(self.normalize(image), train=train, key=key)
        features = contract.select(features, self.head.tap_names)
        return features._replace(norm=self.backbone.norm_after_pooling)

    def scorer(self, graph: label_graph.LabelGraph) -> contract.Scorer:
        """Returns the scorer; make it once where parameters stay the same."""
        return self.head(graph)

    def __call__(
        self,
        image: UInt8[Array, "b h w 3"],
        graph: label_graph.LabelGraph,
        *,
        train: bool,
    ) -> Float[Array, "b l"]:
        """Returns the logits, float32, without any randomness."""
        features = self.features(image, train=train)
        return self.scorer(graph)(features, contract.Context(train=train)).logits
