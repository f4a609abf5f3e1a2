"""Shows the label graph of a dataset and writes it.

mlgcn graph DIR [--gamma=0.002] [--p=0.2] [--variant=paper] [--output=FILE.npz]

Training makes the same graph by itself, from `config.graph`.
"""

import pathlib

import ml_collections
from absl import app, flags

from mlgcn_jax.data import dataset
from mlgcn_jax.graph import from_dataset, label_graph

_GAMMA = flags.DEFINE_float("gamma", 0.002, "Threshold on P(L_j | L_i), Eq. 6.")
_P = flags.DEFINE_float("p", 0.2, "Share of a label's neighbours in it, Eq. 7.")
_VARIANT = flags.DEFINE_enum(
    "variant", "paper", ["paper", "reference_code"], "What Eq. 7 means."
)
_EMBEDDING = flags.DEFINE_enum(
    "embedding",
    "cooccurrence",
    ["cooccurrence", "one_hot", "file", "learned"],
    "Label embeddings.",
)
_EMBEDDING_DIM = flags.DEFINE_integer("embedding_dim", 300, "Their width.")
_EMBEDDING_FILE = flags.DEFINE_string(
    "embedding_file", "", "GloVe .txt or .npz, for --embedding=file."
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "Where the graph is written; DIR/label_graph.npz by default."
)


def main(argv: list[str]) -> None:
    """Runs the stage."""
    if len(argv) != 2:
        raise app.UsageError(f"expected the folder of a dataset, found {argv[1:]}")
    data_dir = pathlib.Path(argv[1])
    data = dataset.open_dataset(data_dir)
    options = ml_collections.ConfigDict(
        {
            "gamma": _GAMMA.value,
            "p": _P.value,
            "variant": _VARIANT.value,
            "embedding": _EMBEDDING.value,
            "embedding_dim": _EMBEDDING_DIM.value,
            "embedding_file": _EMBEDDING_FILE.value,
        }
    )
    graph, counted = from_dataset.create_label_graph(options, data)
    output = pathlib.Path(_OUTPUT.value or data_dir / "label_graph.npz")
    label_graph.save_label_graph(output, graph, counted)
    print(label_graph.summarize(graph, counted, data.vocabulary.labels))
    print(f"label graph: {output}")
