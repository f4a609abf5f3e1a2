"""What backbone, head and scorer are to each other: the doors for new ones.

    image -> Backbone -> ImageFeatures --+
                                         +-> Scorer(features, context) -> HeadOutput
    label graph -> Head -> Scorer -------+

A head says what the labels are before any picture is seen, once a training step and
once in all prediction; all that depends on the picture is its scorer's: pooling,
attention, recurrence.
"""

from collections.abc import Callable, Collection
from typing import NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from mlgcn_jax.graph import label_graph

# A pytree: vectors [... d] -> vectors [... d].
Norm = Callable[[Float[Array, "... d"]], Float[Array, "... d"]]


class ImageFeatures(NamedTuple):
    """What a backbone sees in images.

    Attributes:
        feature_map: the last one.
        taps: name -> feature map from within the backbone, of those asked for.
        norm: what the backbone has for a pooled feature map; None: nothing.
        norm: what the backbone's authors apply to the features once they are pooled,
            over the last axis; a pytree with a call. None: nothing. Where it comes
            before the pooling, `feature_map` has it already.
    """

    feature_map: Float[Array, "b h w d"]
    taps: dict[str, Float[Array, "b _ _ _"]]
    norm: Norm | None = None


def select(features: ImageFeatures, tap_names: Collection[str]) -> ImageFeatures:
    """Returns the feature map, float32, and those taps alone; no norm."""
    return ImageFeatures(
        features.feature_map.astype(jnp.float32),
        {name: features.taps[name] for name in tap_names},
    )


class Context(NamedTuple):
    """What a scorer may know besides the images.

    Attributes:
        train: whether parameters are being learnt.
        key: source of randomness; None: there is none, as in all inference.
        labels: multi-hot, -1 where unknown; None but in training.
        known: what is known of the labels beforehand: 1, 0, or -1 for nothing; None
            where nothing is known of any.
    """

    train: bool = False
    key: Key[Array, ""] | None = None
    labels: Float[Array, "b l"] | None = None
    known: Int[Array, "b l"] | None = None


class HeadOutput(NamedTuple):
    """What a scorer says of images.

    Attributes:
        logits: the answer, float32.
        auxiliary: (weight, logits) of further outputs that are trained like the
            answer, their loss times the weight.
        entry_weights: of each label of each image in the loss; None: 1.
        penalty: added to the loss of the batch.
    """

    logits: Float[Array, "b l"]
    auxiliary: tuple[tuple[float, Float[Array, "b l"]], ...] = ()
    entry_weights: Float[Array, "b l"] | None = None
    penalty: Float[Array, ""] | float = 0.0


def check(output: HeadOutput, shape: tuple[int, ...]) -> None:
    """Checks what a scorer returns.

    Raises:
        ValueError: it is not the logits of so many images and labels, or of another
            type than float32.
    """
    if not isinstance(output, HeadOutput):
        raise ValueError(
            f"the head's scorer returns a {type(output).__name__}; it must return "
            "contract.HeadOutput(logits)"
        )
    for logits in (output.logits, *(logits for _, logits in output.auxiliary)):
        if logits.shape != shape or logits.dtype != jnp.float32:
            raise ValueError(
                f"the head's scorer returns logits {logits.dtype}{list(logits.shape)}; "
                f"it must return float32{list(shape)}, one for each image and label"
            )


@runtime_checkable
class Backbone(Protocol):
    """Normalised images -> features; see `densenet.DenseNet`.

    Attributes:
        num_features: d, width of the last feature map.
        min_image_size_px: the smallest side of an image that leaves a feature map.
        tap_names: of the feature maps from within that it can hand out.
        norm_after_pooling: of a pooled feature map, which is the scorer's to make.
            The model hands it on with the features.
    """

    num_features: int
    min_image_size_px: int
    tap_names: tuple[str, ...]

    @property
    def norm_after_pooling(self) -> Norm | None:
        """The norm, None where there is none."""
        ...

    def __call__(
        self,
        image: Float[Array, "b h w 3"],
        *,
        train: bool,
        key: Key[Array, ""] | None = None,
    ) -> ImageFeatures:
        """Returns the feature map and all taps; what nobody asks for is not computed.

        Args:
            image: normalised.
            train: whether parameters are being learnt: batch statistics, and dropout
                where there is a key.
            key: source of randomness; None: there is none.
        """
        ...


@runtime_checkable
class Scorer(Protocol):
    """Features -> logits; a pytree of float32 arrays, which gradients reach."""

    def __call__(self, features: ImageFeatures, context: Context) -> HeadOutput:
        """Returns the logits of every label, and what the loss shall know besides."""
        ...


@runtime_checkable
class Head(Protocol):
    """Label graph -> scorer; see `heads.gcn.GCNHead`.

    Attributes:
        tap_names: of the backbone's taps that the scorer reads.
    """

    tap_names: tuple[str, ...]

    def __call__(self, graph: label_graph.LabelGraph) -> Scorer:
        """Returns the scorer; nothing in it depends on an image."""
        ...
