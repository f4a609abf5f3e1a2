"""One linear classifier per label over pooled features (Eq. 3 and 4 of the paper)."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlgcn_jax.models import contract, mesh_axes

POOLINGS = {"max": jnp.max, "average": jnp.mean}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Classifiers:
    """The scorer of every head whose labels see an image as one vector.

    Attributes:
        weights: W `[l, d]`; at times what stands for an array, as in every pytree.
        bias: `[l]`; None where there is none.
        pooling: a key of `POOLINGS`.
    """

    weights: Any
    bias: Any
    pooling: str = dataclasses.field(metadata={"static": True})

    def __call__(
        self, features: contract.ImageFeatures, context: contract.Context
    ) -> contract.HeadOutput:
        """Returns `W x` (Eq. 4), x being the pooled feature map (Eq. 3)."""
        del context
        pooled = POOLINGS[self.pooling](features.feature_map, axis=(1, 2))
        if features.norm is not None:
            pooled = features.norm(pooled)
        return contract.HeadOutput(self.logits(pooled))

    def logits(self, pooled: Float[Array, "b d"]) -> Float[Array, "b l"]:
        """Returns `W x`, plus the bias where there is one.

        Devices that share the labels gather their images' features, and each computes
        the logits of its labels for all of these: W stays where it is, and nobody has
        all logits.
        """
        pooled = mesh_axes.lay_out(pooled, mesh_axes.DATA_AXIS)
        logits = jnp.einsum("bd,ld->bl", pooled, self.weights)
        if self.bias is not None:
            logits += self.bias[None, :]
        return mesh_axes.lay_out(logits, mesh_axes.DATA_AXIS, mesh_axes.LABEL_AXIS)


def create(
    weights: Float[Array, "l d"], bias: Float[Array, " l"] | None, *, pooling: str
) -> Classifiers:
    """Returns the classifiers, each with the devices that have its label."""
    weights = mesh_axes.lay_out(weights, mesh_axes.LABEL_AXIS)
    if bias is not None:
        bias = mesh_axes.lay_out(bias, mesh_axes.LABEL_AXIS)
    return Classifiers(weights, bias, pooling)
