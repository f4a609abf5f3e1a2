"""Our side of the whole run: the train step and scorer of `mlgcn train`."""

import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float32, UInt8

from mlgcn_jax.benchmarks import whole_run
from mlgcn_jax.evaluation import scoring
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import train_state
from mlgcn_jax.training import optimizer, train_step

Task = tuple[Callable[[], object], dict[str, Any]]


class Jax:
    """A `whole_run.Side`."""

    def __init__(self, prepared: whole_run.Prepared):
        """Creates the model with the initial weights."""
        config = prepared.config
        num_labels = len(prepared.data.vocabulary)
        self._mesh = meshes.create_mesh()
        passes, num_steps = whole_run.epochs_of(config, prepared.data)
        schedule = optimizer.create_schedule(
            config, steps_per_epoch=passes.steps_per_epoch, num_steps=num_steps
        )
        tx = optimizer.create_optimizer(
            config, schedule, steps_per_epoch=passes.steps_per_epoch
        )
        graphdef, _ = train_state.model_structure(config, num_labels=num_labels)
        self._step = train_step.create_train_step(
            config, graphdef, tx, schedule, self._mesh, num_labels=num_labels
        )
        self._scorer = scoring.Scorer(
            graphdef,
            self._mesh,
            image_size=config.image_size,
            batch_size=meshes.round_up_batch_size(config.batch_size, self._mesh),
        )
        self._graph = jax.device_put(prepared.graph, meshes.replicated(self._mesh))
        # The seed makes them equal to the weights that were written.
        self._state = train_state.create_train_state(
            config, tx, self._mesh, num_labels=num_labels
        )

    def update(self, batch: dict[str, np.ndarray], learning_rate: float) -> None:
        """Does one step."""
        del learning_rate  # the step has its schedule
        on_device = jax.device_put(batch, meshes.batch_sharded(self._mesh))
        self._state, _ = self._step(self._state, on_device, self._graph)

    def begin_scoring(self) -> None:
        """Gets ready for `score` with what was learnt so far."""
        self._scorer.load(self._state.variables, self._graph)

    def score(self, image: UInt8[np.ndarray, "b h w 3"]) -> Float32[np.ndarray, "b l"]:
        """Returns sigmoid scores."""
        return self._scorer(image)


def train(*, folder: str, threshold_map: float) -> Task:
    """Trains once, when it is made; nothing is left to repeat."""
    facts = whole_run.run(pathlib.Path(folder), Jax, threshold_map=threshold_map)
    return lambda: None, facts


TASKS: dict[str, Callable[..., Task]] = {"R": train}
