"""All that is made of a config to train it on the devices of a mesh, in one place."""

from typing import NamedTuple

import jax
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh

from mlgcn_jax.data import config_dict
from mlgcn_jax.graph import label_graph, statistics
from mlgcn_jax.learning import optimizer
from mlgcn_jax.learning.losses import registry as losses
from mlgcn_jax.models import forms
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import train_state
from mlgcn_jax.training import train_step


class Program(NamedTuple):
    """A train step and what it takes; nothing is computed before it is asked for.

    Attributes:
        config: of the run.
        mesh: of the devices, which need not be there.
        num_labels: of the dataset.
        schedule: step -> learning rate of the head.
        tx: the optimiser.
        graphdef: the model's static structure.
        step: jit-compiled, see `train_step.create_train_step`.
    """

    config: config_dict.ConfigDict
    mesh: Mesh
    num_labels: int
    schedule: optax.Schedule
    tx: optax.GradientTransformation
    graphdef: nnx.GraphDef
    step: train_step.TrainStep

    def create_state(self) -> train_state.TrainState:
        """Returns the state before the first step, on the devices."""
        return train_state.create_train_state(
            self.config, self.tx, self.mesh, num_labels=self.num_labels
        )

    def abstract_state(self) -> train_state.TrainState:
        """Returns the shapes of a state and how it is laid out."""
        return train_state.abstract_train_state(
            self.config, self.tx, self.mesh, num_labels=self.num_labels
        )

    def graph_sharding(self) -> label_graph.LabelGraph:
        """Returns how a label graph is laid out."""
        return meshes.graph_sharded(
            self.mesh,
            num_labels=self.num_labels,
            embedding_dim=self.config.graph.embedding_dim,
        )

    def place_graph(self, graph: label_graph.LabelGraph) -> label_graph.LabelGraph:
        """Returns the label graph on the devices."""
        return jax.device_put(graph, self.graph_sharding())


def create_program(
    config: config_dict.ConfigDict,
    mesh: Mesh,
    *,
    num_labels: int,
    steps_per_epoch: float = 1.0,
    num_steps: int | None = None,
    counted: statistics.LabelStatistics | None = None,
    form: forms.Form | None = None,
) -> Program:
    """Makes the program of a config.

    Args:
        config: of a run.
        mesh: see `Program`.
        num_labels: of the dataset.
        steps_per_epoch: of its training split; the schedule counts in epochs.
        num_steps: of the run; None: just enough for the warm-up, where nothing is
            learnt from the rates (they change no shape).
        counted: how often the training split has each label, which some losses want;
            None: once each, likewise.
        form: of the model's layers; None: that which is fast on the mesh's devices.

    Raises:
        ValueError: a name in the config is not known, an option out of its range, or
            the warm-up fills the run.
    """
    enough: int = 2 + round(config.optimizer.warmup_epochs * steps_per_epoch)
    schedule = optimizer.create_schedule(
        config,
        steps_per_epoch=steps_per_epoch,
        num_steps=enough if num_steps is None else num_steps,
    )
    tx = optimizer.create_optimizer(config, schedule, steps_per_epoch=steps_per_epoch)
    graphdef, _ = train_state.model_structure(
        config,
        num_labels=num_labels,
        form=form or forms.of_platform(meshes.platform_of(mesh)),
    )
    loss = losses.create(
        config.loss.name,
        config.loss.get(config.loss.name, config.loss.options).to_dict(),
        counts=np.ones(num_labels, np.int64) if counted is None else counted.counts,
        num_examples=num_labels if counted is None else counted.num_examples,
    )
    step = train_step.create_train_step(
        config,
        graphdef,
        tx,
        schedule,
        loss,
        mesh,
        num_labels=num_labels,
        steps_per_epoch=steps_per_epoch,
    )
    return Program(config, mesh, num_labels, schedule, tx, graphdef, step)
