"""Class-specific residual attention (Zhu and Wu, ICCV 2021, arXiv:2108.02456).

Each label pools the feature map for itself: the mean of its scores over all positions,
and a part of their mean weighted by the softmax of these scores, which lies between
average and max pooling.
"""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from mlgcn_jax.data.options import Option
from mlgcn_jax.graph import label_graph
from mlgcn_jax.models import contract, mesh_axes
from mlgcn_jax.models.torch_leaf import Leaf

# Inverse temperatures of the heads' softmax, by the number of heads; None is the
# maximum, which the paper writes as 99.
TEMPERATURES: dict[int, tuple[float | None, ...]] = {
    1: (1.0,),
    2: (1.0, None),
    4: (1.0, 2.0, 4.0, None),
    6: (1.0, 2.0, 3.0, 4.0, 5.0, None),
    8: (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, None),
}
OPTIONS = {
    "num_heads": Option(1, "1, 2, 4, 6 or 8: from average to maximum", 1, 8),
    "residual_weight": Option(
        0.2, "lambda, of the attention beside the mean; authors: 0.1 to 0.5", 0, 100
    ),
}
_LEAST_SQUARE = 1e-24  # of a kernel's norm: one of zeros gives logits of zero, not NaN


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Attention:
    """Kernels of length 1, one a head and label, and how they pool.

    Attributes:
        kernels: k_i / |k_i|, `[m, l, d]`; at times what stands for an array.
        residual_weight: lambda, of the attention beside the mean.
    """

    kernels: Any
    residual_weight: float = dataclasses.field(metadata={"static": True})

    def __call__(
        self, features: contract.ImageFeatures, context: contract.Context
    ) -> contract.HeadOutput:
        """Returns the sum over the heads of mean + lambda x attention.

        Differs from the authors' code in its maximum, which is one.
        """
        del context
        x = mesh_axes.lay_out(features.feature_map, mesh_axes.DATA_AXIS)
        b, height, width, d = x.shape
        x = x.reshape(b, height * width, d)  # [b, h w, d]
        logits = jnp.zeros(())
        for kernels, scale in zip(
            self.kernels, TEMPERATURES[len(self.kernels)], strict=True
        ):
            scores = jnp.einsum("bpd,ld->bpl", x, kernels)
            scores = mesh_axes.lay_out(
                scores, mesh_axes.DATA_AXIS, None, mesh_axes.LABEL_AXIS
            )
            logits += scores.mean(1) + self.residual_weight * _attend(scores, scale)
        return contract.HeadOutput(
            mesh_axes.lay_out(logits, mesh_axes.DATA_AXIS, mesh_axes.LABEL_AXIS)
        )


def _attend(scores: Float[Array, "b p l"], scale: float | None) -> Float[Array, "b l"]:
    if scale is None:
        return scores.max(1)
    return (jax.nn.softmax(scale * scores, axis=1) * scores).sum(1)


class CSRAHead(nnx.Module):
    """A kernel a label and head; the label graph plays no part."""

    tap_names = ()
    torch_leaves: ClassVar = {"kernel": Leaf("csra.weight")}

    def __init__(
        self,
        num_labels: int,
        num_features: int,
        *,
        num_heads: int,
        residual_weight: float,
        rngs: nnx.Rngs,
    ):
        """Creates kernels `[num_heads, l, d]`, initialised as PyTorch does.

        Args:
            num_labels: l.
            num_features: d.
            num_heads: a key of `TEMPERATURES`.
            residual_weight: lambda; the authors take 0.1 (VOC) to 0.5 (COCO).
            rngs: source of the initial parameters.

        Raises:
            ValueError: the number of heads is not one of the paper's.
        """
        if num_heads not in TEMPERATURES:
            raise ValueError(
                f"config.model.csra.num_heads={num_heads} is not known; use one of "
                f"{sorted(TEMPERATURES)}"
            )
        bound = num_features**-0.5
        self.residual_weight = residual_weight
        self.kernel = nnx.Param(
            jax.random.uniform(
                rngs.params(),
                (num_heads, num_labels, num_features),
                minval=-bound,
                maxval=bound,
            )
        )

    def __call__(self, graph: label_graph.LabelGraph) -> Attention:
        """Returns the kernels, each of length 1."""
        del graph
        kernels = mesh_axes.lay_out(self.kernel[...], None, mesh_axes.LABEL_AXIS)
        square = jnp.square(kernels).sum(-1, keepdims=True)
        kernels *= jax.lax.rsqrt(jnp.maximum(square, _LEAST_SQUARE))
        return Attention(kernels, self.residual_weight)
