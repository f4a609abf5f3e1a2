"""Opens a run for everybody who uses its model: evaluation, prediction, export."""

import dataclasses
import pathlib

import jax
from flax import nnx
from jax.sharding import Mesh

from mlgcn_jax.data import config_dict, labels
from mlgcn_jax.graph import label_graph, statistics
from mlgcn_jax.models import forms
from mlgcn_jax.runs import checkpoints, jax_settings, run_folder, train_state
from mlgcn_jax.runs import mesh as meshes


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """What a run learnt; arrays are replicated over the mesh.

    Attributes:
        folder: the run's folder.
        config: the config it was trained with.
        max_side_px: to which larger pictures were shrunk before it saw them; None: it
            saw files as they are.
        vocabulary: its labels.
        graph: its label graph.
        counted: how often it saw each label, alone and together.
        graphdef: the model's structure.
        variables: parameters and running statistics (averaged where the run keeps
            an average).
        step: number of updates made.
    """

    folder: run_folder.RunFolder
    config: config_dict.ConfigDict
    max_side_px: int | None
    vocabulary: labels.Vocabulary
    graph: label_graph.LabelGraph
    counted: statistics.LabelStatistics
    graphdef: nnx.GraphDef
    variables: train_state.Variables
    step: int


@jax_settings.usable()
def open_run(
    workdir: pathlib.Path, mesh: Mesh, *, step: int | None = None
) -> TrainedModel:
    """Returns a checkpoint of a run, ready to compute.

    Args:
        workdir: the run's folder.
        mesh: the devices that compute.
        step: of the checkpoint; None: the newest that is whole.

    Raises:
        FileNotFoundError: not a run, or nothing was saved yet.
        ValueError: a file of the run is damaged.
        CheckpointError: there is none of that step, it (or every one) is damaged, or it
            does not fit the config.
    """
    folder = run_folder.RunFolder(workdir)
    config = folder.read_config()
    folder.check_whole()
    vocabulary = labels.read_vocabulary(folder.labels)
    graph, counted = label_graph.load_label_graph(folder.label_graph)
    if step is None:
        step = checkpoints.latest_step(folder.checkpoints)
    else:
        checkpoints.check_step(folder.checkpoints, step)
    if step is None:
        raise FileNotFoundError(
            f"{workdir} has no checkpoint yet; train it first, or let it train longer"
        )
    graphdef, abstract = train_state.model_structure(
        config,
        num_labels=len(vocabulary),
        form=forms.of_platform(meshes.platform_of(mesh)),
    )
    replicated = meshes.replicated(mesh)
    return TrainedModel(
        folder=folder,
        config=config,
        max_side_px=folder.read_max_side_px(config),
        vocabulary=vocabulary,
        graph=jax.device_put(graph, replicated),
        counted=counted,
        graphdef=graphdef,
        variables=checkpoints.restore_variables(
            folder.checkpoints,
            step,
            meshes.with_sharding(abstract, replicated),
            ema=bool(config.optimizer.ema_decay),
        ),
        step=step,
    )
