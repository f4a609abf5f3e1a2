"""The variables that a run starts from, where they come from a file or from timm."""

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from flax import nnx
from jax.sharding import Mesh

from mlgcn_jax.data import config_dict, files, labels
from mlgcn_jax.devices import compiler
from mlgcn_jax.models import (
    label_rows,
    registry,
    timm_folder,
    torch_layouts,
    torch_weights,
    weight_files,
)
from mlgcn_jax.runs import checksums, processes, run_folder, train_state
from mlgcn_jax.runs import mesh as meshes

_FEWEST = 50  # tensors: every backbone has more
_POOLINGS = {"average": "avg", "max": "max"}  # config.model.pooling in timm's words


class _Model(NamedTuple):
    """Variables and whose they are."""

    structure: nnx.Module
    variables: train_state.Variables


class _Read(NamedTuple):
    """What was read.

    Attributes:
        variables: the initialised ones and those of the file.
        report: what became of the file's tensors.
        labels: whose rows of a linear head were taken one by one.
    """

    variables: train_state.Variables
    report: torch_weights.Report
    labels: list[str]


def check(path: pathlib.Path, config: config_dict.ConfigDict) -> None:
    """Checks that a file, or a folder of timm, has weights of the config's backbone.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or does not fit the backbone.
    """
    _read(path, _zeros(config), config, [])


def load(
    path: pathlib.Path,
    config: config_dict.ConfigDict,
    state: train_state.TrainState,
    folder: run_folder.RunFolder,
    mesh: Mesh,
) -> train_state.TrainState:
    """Returns the initialised state with a file's backbone, and its head if it fits.

    Of a linear head of other labels, in a folder of timm with their names, the rows of
    those labels are taken that are ours too. What became of each tensor is logged in
    short and written to the run's folder.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, does not fit the backbone, or differs between
            processes.
    """
    gather = compiler.jit(lambda tree: tree, out_shardings=meshes.replicated(mesh))
    vocabulary = labels.read_vocabulary(folder.labels)
    structure = train_state.abstract_model(config, num_labels=len(vocabulary))
    initialised = _Model(structure, jax.device_get(gather(state.variables)))
    read = _read(path, initialised, config, vocabulary.labels)
    _check_same_everywhere(path)
    if processes.is_first():
        content = {"file": str(path), **read.report._asdict(), "labels": read.labels}
        files.write_json(folder.initial_weights, content)
    logging.info(
        "initial weights: %d tensors of %s; %s; details in %s",
        len(read.report.used),
        path,
        _what_of_head(read, num_labels=len(vocabulary)),
        folder.initial_weights,
    )

    def copy(tree: Any) -> Any:  # donated later, so nothing may share their memory
        return jax.tree.map(jnp.copy, tree)

    shardings = jax.tree.map(lambda x: x.sharding, state.variables)
    place = compiler.jit(copy, out_shardings=shardings)
    return state._replace(
        variables=place(read.variables), ema=state.ema and place(read.variables)
    )


def _what_of_head(read: _Read, *, num_labels: int) -> str:
    if read.labels:
        return f"the head has {len(read.labels)} of its {num_labels} labels from there"
    if read.report.missing:
        return "the head starts at random"
    return "the head is one of them"


def _check_same_everywhere(path: pathlib.Path) -> None:
    """Raises ValueError where the first process has another file at this path."""
    file = timm_folder.weights_file(path) if path.is_dir() else path
    ours = int(checksums.sha256(file)[:7], 16)  # an int32 travels between processes
    if processes.agree(ours) != ours:
        raise ValueError(
            f"config.initial_weights={path} has other content on this machine than on "
            "that of the first process; give all of them the same file"
        )


def _read(
    path: pathlib.Path,
    initialised: _Model,
    config: config_dict.ConfigDict,
    label_names: Sequence[str],
) -> _Read:
    folder, taken = None, []
    if path.is_dir():
        folder = timm_folder.read_folder(path)
        _check_architecture(path, folder, config)
        _check_normalization(path, folder, config)
        tensors = folder.tensors
    else:
        tensors = weight_files.read(path)
    try:
        if folder is not None:
            tensors, taken = _with_our_labels(folder, initialised, config, label_names)
        *variables, report = torch_weights.from_torch(
            tensors, *initialised.variables, model=initialised.structure
        )
    except ValueError as error:
        advice = ""
        if name := _backbone_of(tensors, config):
            advice = f"; they are those of config.model.backbone={name}"
        message = f"config.initial_weights={path}: {error}{advice}"
        raise ValueError(message) from error
    return _Read(train_state.Variables(*variables), report, taken)


def _check_architecture(
    path: pathlib.Path, folder: timm_folder.TimmFolder, config: config_dict.ConfigDict
) -> None:
    """Raises ValueError where a folder says that it is of another model."""
    differences = timm_folder.differences(config.model.backbone, folder)
    if not differences:
        return
    name = timm_folder.backbone_of(folder)
    advice = f"; it is config.model.backbone={name}" if name else ""
    raise ValueError(
        f"config.initial_weights={path} is another model than config.model.backbone="
        f"{config.model.backbone}: {'; '.join(differences)}{advice}"
    )


def _with_our_labels(
    folder: timm_folder.TimmFolder,
    initialised: _Model,
    config: config_dict.ConfigDict,
    label_names: Sequence[str],
) -> tuple[weight_files.Tensors, list[str]]:
    """Returns a folder's tensors, its linear head made one of our labels, and whose.

    The head stays as it is where ours is of another kind, reads features that are
    pooled otherwise, or has no label with it in common.
    """
    classifier = torch_layouts.classifier_of(initialised.structure)
    weight, bias = f"{classifier}.weight", f"{classifier}.bias"
    ours = torch_weights.to_torch(*initialised.variables, model=initialised.structure)
    is_linear = weight in ours and {weight, bias} <= folder.tensors.keys()
    if not is_linear or _POOLINGS.get(config.model.pooling) != folder.global_pool:
        return folder.tensors, []
    rows = label_rows.take(
        ours[weight],
        ours[bias],
        label_names,
        other_weight=folder.tensors[weight],
        other_bias=folder.tensors[bias],
        other_names=folder.label_names,
    )
    if not rows.names:
        return folder.tensors, []
    return {**folder.tensors, weight: rows.weight, bias: rows.bias}, rows.names


def _check_normalization(
    path: pathlib.Path, folder: timm_folder.TimmFolder, config: config_dict.ConfigDict
) -> None:
    """Raises ValueError where a run would see pixels otherwise than the folder did."""
    theirs = folder.mean, folder.std
    ours = tuple(config.model.pixel_mean), tuple(config.model.pixel_std)
    if not np.allclose(theirs, ours, atol=1e-3):
        mean, std = (",".join(map(str, x)) for x in theirs)
        raise ValueError(
            f"config.initial_weights={path} was trained with pixels of mean {mean} and "
            f"std {std}, and config.model.pixel_mean and pixel_std say otherwise; use "
            f"--config.model.pixel_mean='({mean})' --config.model.pixel_std='({std})'"
        )


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
            structure, zeros = _zeros(other)
            torch_weights.from_torch(tensors, *zeros, model=structure)
        except ValueError:
            continue
        return name
    return None


def _zeros(config: config_dict.ConfigDict, *, num_labels: int = 1) -> _Model:
    graphdef, abstract = train_state.model_structure(config, num_labels=num_labels)
    zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), abstract)
    return _Model(nnx.merge(graphdef, *zeros), zeros)
