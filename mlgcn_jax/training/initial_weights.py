"""The variables that a run starts from, where they come from a file."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.sharding import Mesh

from mlgcn_jax.data import config_dict, files
from mlgcn_jax.devices import compiler
from mlgcn_jax.models import registry, torch_weights, weight_files
from mlgcn_jax.runs import checksums, processes, run_folder, train_state
from mlgcn_jax.runs import mesh as meshes

_FEWEST = 50  # tensors: every backbone has more


def check(path: pathlib.Path, config: config_dict.ConfigDict) -> None:
    """Checks that a file has the weights of the config's backbone.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or does not fit the backbone.
    """
    _, abstract = train_state.model_structure(config, num_labels=1)
    _read(path, _zeros(abstract), config)


def load(
    path: pathlib.Path,
    config: config_dict.ConfigDict,
    state: train_state.TrainState,
    folder: run_folder.RunFolder,
    mesh: Mesh,
) -> train_state.TrainState:
    """Returns the initialised state with a file's backbone, and its head if it fits.

    What became of each tensor is logged in short and written to the run's folder.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, does not fit the backbone, or differs between
            processes.
    """
    gather = compiler.jit(lambda tree: tree, out_shardings=meshes.replicated(mesh))
    initialised = jax.device_get(gather(state.variables))
    params, batch_stats, report = _read(path, initialised, config)
    _check_same_everywhere(path)
    if processes.is_first():
        content = {"file": str(path), **report._asdict()}
        files.write_json(folder.initial_weights, content)
    logging.info(
        "initial weights: %d tensors of %s; %s; details in %s",
        len(report.used),
        path,
        "the head starts at random" if report.missing else "the head is one of them",
        folder.initial_weights,
    )

    def copy(tree: Any) -> Any:  # donated later, so nothing may share their memory
        return jax.tree.map(jnp.copy, tree)

    shardings = jax.tree.map(lambda x: x.sharding, state.variables)
    place = compiler.jit(copy, out_shardings=shardings)
    variables = train_state.Variables(params, batch_stats)
    return state._replace(
        variables=place(variables), ema=state.ema and place(variables)
    )


def _check_same_everywhere(path: pathlib.Path) -> None:
    """Raises ValueError where the first process has another file at this path."""
    ours = int(checksums.sha256(path)[:7], 16)  # an int32 travels between processes
    if processes.agree(ours) != ours:
        raise ValueError(
            f"config.initial_weights={path} has other content on this machine than on "
            "that of the first process; give all of them the same file"
        )


def _read(
    path: pathlib.Path,
    initialised: train_state.Variables,
    config: config_dict.ConfigDict,
) -> tuple[dict[str, Any], dict[str, Any], torch_weights.Report]:
    tensors = weight_files.read(path)
    try:
        return torch_weights.from_torch(tensors, *initialised)
    except ValueError as error:
        advice = ""
        if name := _backbone_of(tensors, config):
            advice = f"; they are those of config.model.backbone={name}"
        message = f"config.initial_weights={path}: {error}{advice}"
        raise ValueError(message) from error


def _backbone_of(
    tensors: weight_files.Tensors, config: config_dict.ConfigDict
) -> str | None:
    """Returns the other backbone that the tensors are of, None if of none we know."""
    if len(tensors) < _FEWEST:  # spares seconds: to know what each needs takes that
        return None
    for name in registry.BACKBONES:
        other = config.copy_and_resolve_references()
        other.model.backbone = name
        try:
            _, abstract = train_state.model_structure(other, num_labels=1)
            torch_weights.from_torch(tensors, *_zeros(abstract))
        except ValueError:
            continue
        return name
    return None


def _zeros(abstract: train_state.Variables) -> train_state.Variables:
    return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), abstract)
