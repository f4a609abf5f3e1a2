"""Our side of the whole run: the train step and scorer of `mlgcn train`."""

import pathlib
from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Float32, UInt8

from mlgcn_jax.benchmarks import jax_mesh, tasks, whole_run
from mlgcn_jax.evaluation import scoring
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.training import program


class Jax:
    """A `whole_run.Side`."""

    def __init__(self, prepared: whole_run.Prepared):
        """Creates the model with the initial weights."""
        config = prepared.config
        passes, num_steps = whole_run.epochs_of(config, prepared.data)
        self._program = program.create_program(
            config,
            jax_mesh.create_mesh(),
            num_labels=len(prepared.data.vocabulary),
            steps_per_epoch=passes.steps_per_epoch,
            num_steps=num_steps,
        )
        mesh = self._program.mesh
        self._scorer = scoring.Scorer(
            self._program.graphdef,
            mesh,
            image_size=config.image_size,
            batch_size=meshes.round_up_batch_size(config.batch_size, mesh),
        )
        self._graph = self._program.place_graph(prepared.graph)
        # The seed makes them equal to the weights that were written.
        self._state = self._program.create_state()

    def update(self, batch: dict[str, np.ndarray], learning_rate: float) -> None:
        """Does one step."""
        del learning_rate  # the step has its schedule
        sharding = meshes.batch_sharded(self._program.mesh)
        on_device = jax.device_put(batch, sharding)
        self._state, _ = self._program.step(self._state, on_device, self._graph)

    def begin_scoring(self) -> None:
        """Gets ready for `score` with what was learnt so far."""
        self._scorer.load(self._state.variables, self._graph)

    def score(self, image: UInt8[np.ndarray, "b h w 3"]) -> Float32[np.ndarray, "b l"]:
        """Returns sigmoid scores."""
        return self._scorer(image)


def train(*, folder: str, threshold_map: float) -> tasks.Task:
    """Trains once, when it is made; nothing is left to repeat."""
    facts = whole_run.run(pathlib.Path(folder), Jax, threshold_map=threshold_map)
    return tasks.Task(tasks.nothing, facts)


TASKS: dict[str, Callable[..., tasks.Task]] = {"R": train}
