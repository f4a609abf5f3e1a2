"""The same model as a good PyTorch user writes it: the reference of all comparisons.

torchvision's backbone, and the head of ML-GCN (Chen et al., arXiv:1904.03582) with its
dense adjacency matrix. Parameters have the names under which `mlgcn weights` writes a
run of ours.
"""

import functools

import numpy as np
import torch
import torchvision
from jaxtyping import Float, UInt8
from torch import nn

from mlgcn_jax.graph import label_graph
from mlgcn_jax.models.heads import gcn
from mlgcn_jax.models.normalization import IMAGENET

DENSENETS = {
    "densenet_tiny": functools.partial(
        torchvision.models.DenseNet,
        8,
        (2, 2),  # pyright: ignore[reportArgumentType]: any number of blocks works
        16,
    ),
    "densenet121": torchvision.models.densenet121,
}


class GraphConvolution(nn.Module):
    """`A_hat (H W)`, Eq. 2, without bias."""

    def __init__(self, in_features: int, out_features: int):
        """Creates the weight `[in_features, out_features]`."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(in_features, out_features))
        nn.init.xavier_uniform_(self.weight)

    def forward(
        self, nodes: Float[torch.Tensor, "l c"], adjacency: Float[torch.Tensor, "l l"]
    ) -> Float[torch.Tensor, "l c2"]:
        """Returns the new node features."""
        return adjacency @ (nodes @ self.weight)


class MLGCN(nn.Module):
    """DenseNet, global max pooling and two graph convolutions."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        densenet: torchvision.models.DenseNet,
        graph: label_graph.LabelGraph,
        *,
        hidden_features: int,
    ):
        """Creates the model; label embeddings and adjacency are buffers."""
        super().__init__()
        assert graph.embeddings is not None
        self.features = densenet.features
        num_features = densenet.classifier.in_features
        self.gc1 = GraphConvolution(graph.embeddings.shape[1], hidden_features)
        self.gc2 = GraphConvolution(hidden_features, num_features)
        self.register_buffer("mean", _per_channel(IMAGENET.mean), False)
        self.register_buffer("std", _per_channel(IMAGENET.std), False)
        nodes = torch.from_numpy(np.asarray(graph.embeddings))
        self.register_buffer("nodes", nodes, False)
        self.register_buffer("adjacency", dense_adjacency(graph), False)

    def forward(
        self, image: UInt8[torch.Tensor, "b 3 h w"]
    ) -> Float[torch.Tensor, "b l"]:
        """Returns the logits."""
        feature_map = self.features((image.float() / 255.0 - self.mean) / self.std)
        features = torch.relu(feature_map).amax((2, 3))  # Eq. 3
        hidden = self.gc1(self.nodes, self.adjacency)
        hidden = nn.functional.leaky_relu(hidden, gcn.LEAKY_RELU_SLOPE)
        return features @ self.gc2(hidden, self.adjacency).T


def dense_adjacency(graph: label_graph.LabelGraph) -> Float[torch.Tensor, "l l"]:
    """Returns A_hat written out."""
    assert graph.embeddings is not None
    num_labels = len(graph.embeddings)
    adjacency = np.zeros((num_labels, num_labels), np.float32)
    adjacency[graph.receivers, graph.senders] = graph.edge_weights
    return torch.from_numpy(adjacency)


def _per_channel(values: tuple[float, ...]) -> Float[torch.Tensor, "1 3 1 1"]:
    return torch.tensor(values)[None, :, None, None]
