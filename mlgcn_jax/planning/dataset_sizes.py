"""What a plan needs to know of a dataset: looked up, or assumed."""

from typing import NamedTuple

from mlgcn_jax.data import config_dict, source
from mlgcn_jax.graph import from_dataset

# With the paper's gamma of 0.002 a label of a million pictures has 480 neighbours among
# 2,000 labels and 940 among 10,000; few labels are all linked with each other. A plan
# shall rather ask for too much memory than for too little.
ASSUMED_NEIGHBOURS = 1_000


class DatasetSizes(NamedTuple):
    """Sizes of a dataset and of its label graph.

    Attributes:
        num_labels: of the vocabulary.
        num_edges: of the label graph, self-loops among them.
        num_examples: of the training split; None: unknown.
        edges_from: where the number of edges comes from, for people.
    """

    num_labels: int
    num_edges: int
    num_examples: int | None
    edges_from: str


def assumed(
    *, num_labels: int, num_edges: int | None = None, num_examples: int | None = None
) -> DatasetSizes:
    """Returns the sizes of a dataset that is not there.

    Args:
        num_labels: at least 1.
        num_edges: between labels, as `mlgcn graph` counts them; each label has a
            self-loop besides. None: every label is linked with all others, or with
            `ASSUMED_NEIGHBOURS` of them.
        num_examples: of its training split, if that is known.

    Raises:
        ValueError: there cannot be so many edges.
    """
    most = num_labels * (num_labels - 1)
    if num_edges is None:
        neighbours = min(num_labels - 1, ASSUMED_NEIGHBOURS)
        num_edges = num_labels * neighbours
        edges_from = f"assumed: {neighbours:,} neighbours a label"
    elif num_edges > most:
        raise ValueError(
            f"num_edges={num_edges:,}: between {num_labels:,} labels are {most:,} "
            "edges at most"
        )
    else:
        edges_from = "as given, and self-loops"
    return DatasetSizes(num_labels, num_edges + num_labels, num_examples, edges_from)


def of_dataset(data: source.Opened, options: config_dict.ConfigDict) -> DatasetSizes:
    """Returns those of a dataset, its label graph made as for a run.

    Args:
        data: the dataset.
        options: `config.graph`.

    Raises:
        ValueError: it cannot be read, or the graph cannot be made of it.
    """
    graph, _ = from_dataset.create_label_graph(options, data)
    return DatasetSizes(
        len(data.vocabulary),
        len(graph.senders),
        data.num_examples("train"),
        f"of the dataset {data.directory}",
    )
