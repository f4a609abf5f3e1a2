"""Dataset -> label graph: counts, embeddings and edges in one call."""

import pathlib

from mlgcn_jax.data import config_dict, source
from mlgcn_jax.graph import embeddings, label_graph, statistics


def create_label_graph(
    options: config_dict.ConfigDict, data: source.Source
) -> tuple[label_graph.LabelGraph, statistics.LabelStatistics]:
    """Returns the label graph of the training split, and the counts behind it.

    Args:
        options: `config.graph`, see configs/default.py.
        data: the dataset; its validation split is never looked at.

    Raises:
        ValueError: an option is out of range, or the embedding file lacks labels.
    """
    counted = statistics.count_labels(
        (example["labels"] for example in data.examples("train")), len(data.vocabulary)
    )
    path = options.embedding_file
    nodes = embeddings.label_embeddings(
        options.embedding,
        counted,
        dim=options.embedding_dim,
        path=pathlib.Path(path).expanduser() if path else None,
        labels=data.vocabulary.labels,
    )
    graph = label_graph.build_label_graph(
        counted, nodes, gamma=options.gamma, p=options.p, variant=options.variant
    )
    return graph, counted
