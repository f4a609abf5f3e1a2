"""Trains and evaluates several models on one dataset: the table of the paper.

mlgcn compare --config=configs/paper.py --config.data_dir=DIR --workdir=RUNS

A row is BACKBONE-HEAD-POOLING; all else is as the config says. Each is a run of its
own, RUNS/ROW, that goes on where it was. RUNS/compare.json has the rows that are
done, and the table is printed.
"""

import pathlib

import jax
from absl import app, flags, logging
from ml_collections import config_flags

from mlgcn_jax.commands import exit_status
from mlgcn_jax.data import config_dict, dataset, files
from mlgcn_jax.evaluation import evaluate, tables
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import run_folder, train_state, trained_model
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
    base = _CONFIG.value
    workdir = pathlib.Path(_WORKDIR.value).expanduser()
    config_ranges.check(base)
    # All rows before the first is trained: what is wrong shall not come out days later.
    configs = {row: _config_of(row, base) for row in _ROWS.value}
    for row, config in configs.items():
        run_folder.RunFolder(workdir / row).check_same_config(config)
    build.build_as_configured(base)
    data = dataset.open_dataset(pathlib.Path(base.data_dir).expanduser())
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
        files.write_json(workdir / "compare.json", results)
        jax.clear_caches()  # the next model shares no program with this one
    print(tables.format_table(results))
    return 0


def _config_of(row: str, base: config_dict.ConfigDict) -> config_dict.ConfigDict:
    """Returns the config of a row, whose model is known to exist."""
    names = row.split("-")
    if len(names) != 3:
        raise app.UsageError(f"--rows: {row!r} is no BACKBONE-HEAD-POOLING")
    config = base.copy_and_resolve_references()
    config.model.backbone, config.model.head, config.model.pooling = names
    try:
        train_state.model_structure(config, num_labels=1)
    except ValueError as error:
        raise app.UsageError(f"--rows: {row!r}: {error}") from error
    return config
