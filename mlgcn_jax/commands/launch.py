"""The main job from a config: build (where it says so), train, evaluate, tag.

mlgcn launch --config=configs/quickstart.py --workdir=runs/quickstart

What is done already is not done again; an interrupted launch goes on where it was.
docs/clusters.md says how several processes run it.
"""

import os
import pathlib
import sys

from absl import flags
from ml_collections import config_flags

from mlgcn_jax.commands import (
    cluster_flags,
    exit_status,
    restarts,
    step_range,
    together,
)
from mlgcn_jax.data import config_dict, dataset
from mlgcn_jax.evaluation import evaluate, tables
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import processes, trained_model
from mlgcn_jax.serving import samples
from mlgcn_jax.training import train
from tfds_pixiv import build

NUM_SAMPLES = 12

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
flags.mark_flag_as_required("config")
flags.adopt_module_key_flags(cluster_flags)
flags.adopt_module_key_flags(restarts)
flags.adopt_module_key_flags(step_range)


def main(argv: list[str]) -> int:
    """Runs the stages; returns the exit status."""
    exit_status.check_no_arguments(argv)
    if restarts.MAX_RESTARTS.value:
        return restarts.supervise()
    config = _CONFIG.value
    workdir = pathlib.Path(_WORKDIR.value).expanduser()
    if cluster_flags.DRY_RUN.value:
        print(cluster_flags.describe_job(cluster_flags.detect(), config, workdir))
        return 0
    status = together.run(lambda: _build_and_train(config, workdir))
    if status or not processes.is_first():
        return status
    if processes.count() > 1:
        # JAX still counts the processes that are gone now: a new one does the rest.
        os.execv(sys.executable, restarts.command("--num_processes=1"))
    _evaluate_and_tag(config, workdir)
    return 0


def _build_and_train(config: config_dict.ConfigDict, workdir: pathlib.Path) -> int:
    """Builds the dataset once, or once on each machine where they share no disk.

    The first process does it; the others then find it, or are elsewhere and do it too.
    """
    if processes.is_first():
        build.build_as_configured(config)
    processes.agree(0)  # waits for the first
    build.build_as_configured(config)
    interrupted = train.train_and_evaluate(
        config, workdir, profile_steps=step_range.PROFILE_STEPS.value
    )
    return exit_status.of_signal(interrupted)


def _evaluate_and_tag(config: config_dict.ConfigDict, workdir: pathlib.Path) -> None:
    """What the first process does by itself, when the others are gone."""
    mesh = meshes.create_local_mesh()
    model = trained_model.open_run(workdir, mesh)
    data = dataset.open_dataset(pathlib.Path(config.data_dir).expanduser())
    evaluated = evaluate.evaluate_run(model, data, mesh, split="validation")
    sheet, _ = samples.tag_held_out_pictures(model, data, mesh, count=NUM_SAMPLES)
    print(tables.format_table({workdir.name: evaluated.metrics}))
    print(
        f"dataset    {data.directory}\n"
        f"run        {workdir}\n"
        f"metrics    {model.folder.metrics}, {model.folder.per_label}\n"
        f"samples    {sheet}\n"
        f"tag more   mlgcn predict {workdir} PICTURES..."
    )
