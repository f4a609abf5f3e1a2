"""Heads: label graph -> one linear classifier per label (Eq. 4 of the paper)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from mlgcn_jax.graph import label_graph
from mlgcn_jax.models import graph_convolution, mesh_axes

LEAKY_RELU_SLOPE = 0.2  # as in ML-GCN; the paper does not say


class Classifiers(NamedTuple):
    """One linear classifier per label; independent of the image."""

    weights: Float[Array, "l d"]
    bias: Float[Array, " l"] | None

    def logits(self, features: Float[Array, "b d"]) -> Float[Array, "b l"]:
        """Returns `W x` (Eq. 4), plus the bias where there is one.

        Devices that share the labels gather their images' features, and each computes
        the logits of its labels for all of these: W stays where it is, and nobody has
        all logits.
        """
        features = mesh_axes.lay_out(features, mesh_axes.DATA_AXIS)
        logits = jnp.einsum("bd,ld->bl", features, self.weights)
        if self.bias is not None:
            logits += self.bias[None, :]
        return mesh_axes.lay_out(logits, mesh_axes.DATA_AXIS, mesh_axes.LABEL_AXIS)


class GCNHead(nnx.Module):
    """Two graph convolutions turn label embeddings into classifiers (ML-GCN).

    LeakyReLU between the layers, none after the last, no bias, as in ML-GCN.
    """

    def __init__(
        self,
        num_labels: int,
        num_features: int,
        *,
        embedding: str,
        embedding_dim: int,
        hidden_features: int,
        rngs: nnx.Rngs,
    ):
        """Creates the two layers.

        Args:
            num_labels: l.
            num_features: d, width of the image features.
            embedding: kind of the label embeddings, see `graph.embeddings`: `one_hot`
                nodes are the identity, `learned` ones a parameter `[l, v]`, others
                come with the graph.
            embedding_dim: v.
            hidden_features: f, width between the two layers.
            rngs: source of the initial parameters.
        """
        self.embedding = embedding
        if embedding == "learned":
            self.embeddings = nnx.Param(
                jax.random.normal(rngs.params(), (num_labels, embedding_dim))
                / jnp.sqrt(embedding_dim)
            )
        in_features = num_labels if embedding == "one_hot" else embedding_dim
        self.gc1 = graph_convolution.GraphConvolution(
            in_features, hidden_features, rngs=rngs
        )
        self.gc2 = graph_convolution.GraphConvolution(
            hidden_features, num_features, rngs=rngs
        )

    def __call__(self, graph: label_graph.LabelGraph) -> Classifiers:
        """Returns the classifiers `W = A_hat h(A_hat Z W1) W2`, `[l, d]`."""
        if self.embedding == "one_hot":
            nodes = None
        elif self.embedding == "learned":
            nodes = self.embeddings[...]
        else:
            nodes = jnp.asarray(graph.embeddings)
        hidden = jax.nn.leaky_relu(self.gc1(nodes, graph), LEAKY_RELU_SLOPE)
        return Classifiers(self.gc2(hidden, graph), bias=None)


class LinearHead(nnx.Module):
    """A plain linear layer with bias: the paper's vanilla baselines."""

    def __init__(self, num_labels: int, num_features: int, *, rngs: nnx.Rngs):
        """Creates weights `[l, d]` and bias `[l]`, initialised as PyTorch does."""
        bound = num_features**-0.5
        self.kernel = nnx.Param(
            jax.random.uniform(
                rngs.params(), (num_labels, num_features), minval=-bound, maxval=bound
            )
        )
        self.bias = nnx.Param(jnp.zeros(num_labels))

    def __call__(self, graph: label_graph.LabelGraph) -> Classifiers:
        """Returns the classifiers; the graph plays no part."""
        del graph
        return Classifiers(self.kernel[...], self.bias[...])
