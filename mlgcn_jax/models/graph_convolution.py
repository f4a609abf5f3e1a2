"""Graph convolution over the label graph, from its edges (Eq. 2 of the paper)."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from mlgcn_jax.graph import label_graph
from mlgcn_jax.models import adjacency_product, mesh_axes


def aggregate(
    nodes: Float[Array, "l c"], graph: label_graph.LabelGraph
) -> Float[Array, "l c"]:
    """Returns `A_hat @ nodes`: for each label the sum over the edges that arrive.

    Devices that share the labels share the features here: an edge may join any two
    labels, but not two features, so that each device sums up its own over all edges.
    """
    nodes = mesh_axes.lay_out(nodes, None, mesh_axes.LABEL_AXIS)
    sums = adjacency_product.multiply(graph, nodes)
    sums = mesh_axes.lay_out(sums, None, mesh_axes.LABEL_AXIS)
    return mesh_axes.lay_out(sums, mesh_axes.LABEL_AXIS)


class GraphConvolution(nnx.Module):
    """`H' = A_hat H W` (Eq. 2) without bias; the activation is the caller's."""

    def __init__(self, in_features: int, out_features: int, *, rngs: nnx.Rngs):
        """Creates the kernel `[in_features, out_features]`."""
        self.kernel = nnx.Param(
            nnx.initializers.glorot_uniform()(
                rngs.params(), (in_features, out_features)
            )
        )

    def __call__(
        self, nodes: Float[Array, "l c"] | None, graph: label_graph.LabelGraph
    ) -> Float[Array, "l c2"]:
        """Returns the new node features; `nodes=None` stands for the identity matrix.

        The identity (one-hot nodes) is never written out: I W is W.
        """
        kernel = self.kernel[...]
        if nodes is None:
            return aggregate(kernel, graph)
        if kernel.shape[0] < kernel.shape[1]:  # send the narrower side along the edges
            return _multiply(aggregate(nodes, graph), kernel)
        return aggregate(_multiply(nodes, kernel), graph)


def _multiply(
    nodes: Float[Array, "l c"], kernel: Float[Array, "c f"]
) -> Float[Array, "l f"]:
    """The product, of each device for its labels."""
    product = jnp.einsum("lc,cf->lf", nodes, kernel)
    return mesh_axes.lay_out(product, mesh_axes.LABEL_AXIS)
