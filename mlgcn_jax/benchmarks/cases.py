"""What both frameworks are given: random pictures and labels, a random label graph."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from configs import default
from mlgcn_jax.data import config_dict
from mlgcn_jax.graph import embeddings, label_graph, statistics

BACKBONE = "densenet121"
NUM_LABELS = 40
LABELS_PER_IMAGE = 4
NUM_FEATURES = 1024  # of DenseNet-121


class Batch(NamedTuple):
    """Random pictures and multi-hot labels."""

    image: UInt8[np.ndarray, "b h w 3"]
    labels: Float32[np.ndarray, "b l"]


def make_config(
    *, dtype: str = "float32", backbone: str = BACKBONE
) -> config_dict.ConfigDict:
    """Returns the default config, the paper's model and optimiser, in a precision."""
    config: config_dict.ConfigDict = default.get_config()
    config.model.dtype = dtype
    config.model.backbone = backbone
    return config


def make_batch(batch_size: int, image_size: int) -> Batch:
    """Returns the same batch for the same sizes."""
    rng = np.random.default_rng(0)
    shape = (batch_size, image_size, image_size, 3)
    image = rng.integers(0, 256, shape, dtype=np.uint8)
    labels = rng.random((batch_size, NUM_LABELS)) < LABELS_PER_IMAGE / NUM_LABELS
    return Batch(image, labels.astype(np.float32))


def make_examples(num_labels: int) -> list[list[int]]:
    """Returns label indices of ten random examples a label; some labels are popular."""
    rng = np.random.default_rng(0)
    popularity = rng.zipf(1.5, (10 * num_labels, LABELS_PER_IMAGE))
    return (popularity % num_labels).tolist()


def make_graph(num_labels: int, *, embedding_dim: int) -> label_graph.LabelGraph:
    """Returns the paper's label graph of those examples."""
    counted = statistics.count_labels(make_examples(num_labels), num_labels)
    nodes = embeddings.cooccurrence_embeddings(counted, dim=embedding_dim)
    return label_graph.build_label_graph(
        counted, nodes, gamma=0.1, p=0.2, variant="paper"
    )
