"""The paper's head: graph convolutions turn label embeddings into classifiers."""

import jax
import jax.numpy as jnp
from flax import nnx

from mlgcn_jax.graph import label_graph
from mlgcn_jax.models import graph_convolution
from mlgcn_jax.models.heads import classifiers

LEAKY_RELU_SLOPE = 0.2  # as in ML-GCN; the paper does not say


class GCNHead(nnx.Module):
    """Two graph convolutions turn label embeddings into classifiers (ML-GCN).

    LeakyReLU between the layers, none after the last, no bias, as in ML-GCN.
    """

    tap_names = ()

    def __init__(
        self,
        num_labels: int,
        num_features: int,
        *,
        embedding: str,
        embedding_dim: int,
        hidden_features: int,
        pooling: str,
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
            pooling: a key of `classifiers.POOLINGS`.
            rngs: source of the initial parameters.
        """
        self.embedding = embedding
        self.pooling = pooling
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

    def __call__(self, graph: label_graph.LabelGraph) -> classifiers.Classifiers:
        """Returns the classifiers `W = A_hat h(A_hat Z W1) W2`, `[l, d]`."""
        if self.embedding == "one_hot":
            nodes = None
        elif self.embedding == "learned":
            nodes = self.embeddings[...]
        else:
            nodes = jnp.asarray(graph.embeddings)
        hidden = jax.nn.leaky_relu(self.gc1(nodes, graph), LEAKY_RELU_SLOPE)
        weights = self.gc2(hidden, graph)
        return classifiers.create(weights, None, pooling=self.pooling)
