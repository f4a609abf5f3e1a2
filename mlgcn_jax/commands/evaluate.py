"""Evaluates a run.

mlgcn evaluate RUN [--data_dir=DIR] [--split=validation]

Writes RUN/metrics.json, RUN/per_label.csv and RUN/predictions.npz, and prints a table
like those of the paper.
"""

import pathlib

from absl import app, flags

from mlgcn_jax.commands import chosen_step
from mlgcn_jax.data import dataset
from mlgcn_jax.devices import compilation_cache
from mlgcn_jax.evaluation import evaluate, notes, tables
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import trained_model

_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Dataset; the one the run was trained on by default."
)
_SPLIT = flags.DEFINE_enum("split", "validation", ["train", "validation"], "Split.")
flags.adopt_module_key_flags(chosen_step)


def main(argv: list[str]) -> None:
    """Runs the stage."""
    if len(argv) != 2:
        raise app.UsageError(f"expected the folder of a run, found {argv[1:]}")
    compilation_cache.enable()
    mesh = meshes.create_mesh()
    model = trained_model.open_run(
        pathlib.Path(argv[1]), mesh, step=chosen_step.STEP.value
    )
    data_dir = _DATA_DIR.value or model.folder.read_dataset()["directory"]
    data = dataset.open_source(model.config.dataset, data_dir)
    evaluated = evaluate.evaluate_run(model, data, mesh, split=_SPLIT.value)
    print(tables.format_per_label(model.vocabulary.labels, evaluated.per_label))
    rows = {model.folder.workdir.name: evaluated.metrics}
    print(tables.format_table(rows))
    print(notes.format_notes(rows), end="")
    print(f"metrics: {model.folder.metrics}")
