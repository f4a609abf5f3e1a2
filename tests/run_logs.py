"""What a run has left behind: its log, its checkpoints."""

import json
import pathlib

import crawl_folders

from mlgcn_jax.runs import checkpoints, run_folder, train_state
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.training import optimizer

TINY_CONFIG = pathlib.Path(__file__).parent / "tiny_config.py"


def curves(workdir: pathlib.Path) -> list[dict]:
    lines = run_folder.RunFolder(workdir).metrics_log.read_text().splitlines()
    return [json.loads(line) for line in lines]


def restored_state(config, directory: pathlib.Path, step: int):
    """The whole train state of a checkpoint."""
    mesh = meshes.create_mesh()
    schedule = optimizer.create_schedule(config, steps_per_epoch=5, num_steps=200)
    tx = optimizer.create_optimizer(config, schedule, steps_per_epoch=1)
    abstract = train_state.abstract_train_state(
        config, tx, mesh, num_labels=len(crawl_folders.LABELS)
    )
    return checkpoints.restore_train_state(directory, step, abstract)


def final_state(workdir: pathlib.Path) -> train_state.TrainState:
    """All of the newest checkpoint: parameters, statistics, average, optimiser."""
    folder = run_folder.RunFolder(workdir)
    step = checkpoints.latest_step(folder.checkpoints)
    assert step is not None
    return restored_state(folder.read_config(), folder.checkpoints, step)
