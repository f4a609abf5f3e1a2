"""Trains and evaluates several models on one dataset: the table of the paper.

mlgcn compare --config=configs/paper.py --config.data_dir=DIR --workdir=RUNS

A row is BACKBONE-HEAD-POOLING; all else is as the config says. Each is a run of its
own, RUNS/ROW, that goes on where it was. With --seeds=0,1,2 a row has a run for each,
RUNS/ROW-seed0 and so on, and shows mean and standard deviation. The rows that are done
are in RUNS/compare.json, and at the end the table is printed.
"""

import pathlib
from typing import Any, NamedTuple

import jax
from absl import app, flags, logging
from jax.sharding import Mesh
from ml_collections import config_flags

from mlgcn_jax.commands import exit_status
from mlgcn_jax.data import config_dict, dataset, files, source
from mlgcn_jax.evaluation import evaluate, notes, seeds, tables
from mlgcn_jax.runs import (
    checkpoints,
    jax_settings,
    run_folder,
    train_state,
    trained_model,
)
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.schema import configs
from mlgcn_jax.training import initial_weights, promises, train
from tfds_pixiv import build

_PAPER = (
    "resnet101-linear-average",
    "densenet121-linear-average",
    "densenet121-gcn-max",
)

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the runs.", required=True)
_ROWS = flags.DEFINE_list("rows", list(_PAPER), "Models, as BACKBONE-HEAD-POOLING.")
_SEEDS = flags.DEFINE_list(
    "seeds", [], "Train each row with each of them; with config.seed by default."
)
flags.mark_flag_as_required("config")


class _Run(NamedTuple):
    row: str
    config: config_dict.ConfigDict
    folder: run_folder.RunFolder


def main(argv: list[str]) -> int:
    """Runs the stage; returns the exit status."""
    exit_status.check_no_arguments(argv)
    jax_settings.check_devices()
    base = _CONFIG.value
    workdir = pathlib.Path(_WORKDIR.value).expanduser()
    # All runs before the first is trained: what is wrong shall not come out days later.
    runs = _plan(base, workdir)
    started = [run for run in runs if _check_config(run)]
    build.build_as_configured(base, begun=bool(started))
    data = dataset.open_source(base.dataset, base.data_dir)
    for run in started:
        run.folder.check_same_dataset(data)
    mesh = meshes.create_mesh()
    found: dict[str, dict[int, dict[str, Any]]] = {}  # row -> seed -> metrics
    table = {}
    for row, config, folder in runs:
        logging.info("%s", folder.workdir.name)
        interrupted = train.train_and_evaluate(config, folder.workdir)
        if interrupted is not None:
            return exit_status.of_signal(interrupted)
        measured = found.setdefault(row, {})
        measured[config.seed] = metrics = _evaluate(folder, data, mesh)
        table[row] = seeds.summarize(measured) if _SEEDS.value else metrics
        files.write_json(workdir / "compare.json", table)
        jax.clear_caches()  # the next run shares no program with this one
    print(tables.format_table(table))
    print(notes.format_notes(table), end="")
    return 0


def _plan(base: config_dict.ConfigDict, workdir: pathlib.Path) -> list[_Run]:
    """Returns the runs of all rows, in the order of the table."""
    try:
        suffixes = {f"-seed{int(seed)}": int(seed) for seed in _SEEDS.value}
    except ValueError as error:
        raise app.UsageError(
            f"--seeds: expected numbers like 0,1,2 ({error})"
        ) from error
    for flag, given, distinct in (
        ("rows", _ROWS.value, set(_ROWS.value)),
        ("seeds", _SEEDS.value, suffixes),
    ):
        if len(distinct) < len(given):
            raise app.UsageError(f"--{flag}: one is named twice in {','.join(given)}")
    return [
        _Run(
            row,
            _config_of(row, seed, base),
            run_folder.RunFolder(workdir / f"{row}{suffix}"),
        )
        for row in _ROWS.value
        for suffix, seed in (suffixes or {"": base.seed}).items()
    ]


def _config_of(
    row: str, seed: int, base: config_dict.ConfigDict
) -> config_dict.ConfigDict:
    """Returns the config of a row, whose model is known to exist."""
    names = row.split("-")
    if len(names) != 3:
        raise app.UsageError(f"--rows: {row!r} is no BACKBONE-HEAD-POOLING")
    config = base.copy_and_resolve_references()
    config.model.backbone, config.model.head, config.model.pooling = names
    config.seed = seed
    configs.reset_of_others(config)  # what a head of another row has
    configs.check(config)
    try:
        train_state.model_structure(config, num_labels=1)
    except ValueError as error:
        raise app.UsageError(f"--rows: {row!r}: {error}") from error
    return config


def _check_config(run: _Run) -> bool:
    """Checks that a run can start, or go on; returns whether it has started."""
    if checkpoints.saved_steps(run.folder.checkpoints):
        run.folder.check_same_config(run.config)
        return True
    promises.check(run.config)
    if run.config.initial_weights:
        path = pathlib.Path(run.config.initial_weights).expanduser()
        initial_weights.check(path, run.config)
    return False


def _evaluate(
    folder: run_folder.RunFolder, data: source.Opened, mesh: Mesh
) -> dict[str, Any]:
    """Returns the metrics of a run that came to its end; computed once."""
    step = checkpoints.saved_steps(folder.checkpoints)[0]
    known = evaluate.read_metrics(folder, data, split="validation", step=step)
    if known is not None:
        return known
    model = trained_model.open_run(folder.workdir, mesh)
    return evaluate.evaluate_run(model, data, mesh, split="validation").metrics
