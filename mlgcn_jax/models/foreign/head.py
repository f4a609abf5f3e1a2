"""A module of others as a head."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from mlgcn_jax.graph import label_graph
from mlgcn_jax.models import contract
from mlgcn_jax.models.foreign import modules


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _ForeignScorer:
    """A module with its parameters, as a pytree."""

    params: dict[str, Any]  # nested
    graphdef: nnx.GraphDef = dataclasses.field(metadata={"static": True})

    def __call__(
        self, features: contract.ImageFeatures, context: contract.Context
    ) -> contract.HeadOutput:
        head = nnx.merge(self.graphdef, self.params)
        logits = head.module(features.feature_map, train=context.train, key=context.key)
        return contract.HeadOutput(logits)


class ForeignHead(nnx.Module):
    """A module map [b h w d] -> logits [b l]; the label graph plays no part."""

    tap_names = ()

    def __init__(
        self,
        module: Any,
        name: str,
        *,
        map_shape: tuple[int, ...],
        num_labels: int,
        rngs: nnx.Rngs,
    ):
        """Takes a module over; tries it on a map of the backbone.

        Raises:
            ValueError: it cannot be used; the message says why.
        """
        example = jnp.zeros(map_shape)
        self.module = modules.Module(module, name, example, rngs=rngs)
        if self.module.paths[1]:
            raise ValueError(
                f"{name} has running statistics, which only backbones may have; use a "
                "norm that has none, such as LayerNorm"
            )
        logits = jax.eval_shape(lambda: self.module(example, train=False, key=None))
        expected = modules.shape_of(jnp.zeros((map_shape[0], num_labels)))
        if (found := modules.shape_of(logits)) != expected:
            raise ValueError(
                f"{name} returns {found} for a map {list(map_shape)}, expected the "
                f"logits of {num_labels} labels, {expected}"
            )

    def __call__(self, graph: label_graph.LabelGraph) -> contract.Scorer:
        """Returns the module with its parameters."""
        del graph
        graphdef, params = nnx.split(self)
        return _ForeignScorer(nnx.to_pure_dict(params), graphdef)
