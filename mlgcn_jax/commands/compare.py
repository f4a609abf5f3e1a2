"""Trains and evaluates several models on one dataset: the table of the paper.

mlgcn compare --config=configs/paper.py --config.data_dir=DIR --workdir=RUNS

A row is BACKBONE-HEAD-POOLING; all else is as the config says. Each is a run of its
own, RUNS/ROW, that goes on where it was. RUNS/compare.json has the rows, and the table
is printed.
"""

import pathlib

import jax
from absl import app, flags, logging
from ml_collections import config_flags

from mlgcn_jax.commands import exit_status
from mlgcn_jax.data import config_dict, dataset, files
from mlgcn_jax.evaluation import evaluate, tables
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import train_state, trained_model
from mlgcn_jax.training import config_ranges, train
from tfds_pixiv import build

_PAPER = (
    "resnet101-linear-average",
    "densenet121-linear-average",
    "densenet121-gcn-max",
)

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the runs.", required=True)
_ROWS = flags.DEFINE_list("rows", list(_PAPER), "Models, as BACKBONE-HEAD-POOLING.")
flags.mark_flag_as_required("config")


def main(argv: list[str]) -> int:
    """Runs the stage; returns the exit status."""
    exit_status.check_no_arguments(argv)
    config_ranges.check(_CONFIG.value)
    configs = {row: _config_of(row, _CONFIG.value) for row in _ROWS.value}
    build.build_as_configured(_CONFIG.value)
    data = dataset.open_dataset(pathlib.Path(_CONFIG.value.data_dir).expanduser())
    workdir = pathlib.Path(_WORKDIR.value).expanduser()
    mesh = meshes.create_mesh()
    results = {}
    for row, config in configs.items():
        logging.info("%s", row)
        interrupted = train.train_and_evaluate(config, workdir / row)
        if interrupted is not None:
            return exit_status.of_signal(interrupted)
        model = trained_model.open_run(workdir / row, mesh)
        evaluated = evaluate.evaluate_run(model, data, mesh, split="validation")
        results[row] = evaluated.metrics
        jax.clear_caches()  # the next model shares no program with this one
    files.write_json(workdir / "compare.json", results)
    print(tables.format_table(results))
    return 0


def _config_of(row: str, base: config_dict.ConfigDict) -> config_dict.ConfigDict:
    """Returns the config of a row, checked before any of them is trained."""
    config = base.copy_and_resolve_references()
    try:
        model = config.model
        model.backbone, model.head, model.pooling = row.split("-")
        train_state.model_structure(config, num_labels=1)
    except ValueError as error:
        raise app.UsageError(
            f"--rows: {row!r} is no BACKBONE-HEAD-POOLING ({error})"
        ) from error
    return config
