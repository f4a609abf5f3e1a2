"""The head of the paper's vanilla baselines: the graph plays no part."""

import jax
import jax.numpy as jnp
from flax import nnx

from mlgcn_jax.graph import label_graph
from mlgcn_jax.models.heads import classifiers


class LinearHead(nnx.Module):
    """A plain linear layer with bias."""

    tap_names = ()

    def __init__(
        self, num_labels: int, num_features: int, *, pooling: str, rngs: nnx.Rngs
    ):
        """Creates weights `[l, d]` and bias `[l]`, initialised as PyTorch does."""
        bound = num_features**-0.5
        self.pooling = pooling
        self.kernel = nnx.Param(
            jax.random.uniform(
                rngs.params(), (num_labels, num_features), minval=-bound, maxval=bound
            )
        )
        self.bias = nnx.Param(jnp.zeros(num_labels))

    def __call__(self, graph: label_graph.LabelGraph) -> classifiers.Classifiers:
        """Returns the classifiers."""
        del graph
        return classifiers.create(
            self.kernel[...], self.bias[...], pooling=self.pooling
        )
