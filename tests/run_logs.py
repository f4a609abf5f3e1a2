"""What a run has left behind: its log, its checkpoints."""

import json
import pathlib

import crawl_folders

from mlgcn_jax.runs import checkpoints, run_folder, train_state
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.training import program

TINY_CONFIG = pathlib.Path(__file__).parent / "tiny_config.py"


def curves(workdir: pathlib.Path) -> list[dict]:
    lines = run_folder.RunFolder(workdir).metrics_log.read_text().splitlines()
    return [json.loads(line) for line in lines]


def restored_state(config, directory: pathlib.Path, step: int):
    """The whole train state of a checkpoint."""
    mesh = meshes.create_mesh()
    made = program.create_program(config, mesh, num_labels=len(crawl_folders.LABELS))
    return checkpoints.restore_train_state(directory, step, made.abstract_state())


def final_state(workdir: pathlib.Path) -> train_state.TrainState:
    """All of the newest checkpoint: parameters, statistics, average, optimiser."""
    folder = run_folder.RunFolder(workdir)
    step = checkpoints.latest_step(folder.checkpoints)
    assert step is not None
    return restored_state(folder.read_config(), folder.checkpoints, step)
