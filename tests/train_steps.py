"""The train step on any mesh and label graph, without a dataset."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jax.sharding import Mesh

from mlgcn_jax.graph import label_graph
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import train_state
from mlgcn_jax.training import optimizer, train_step


class Case(NamedTuple):
    """A step and what it takes."""

    config: ml_collections.ConfigDict
    mesh: Mesh
    num_labels: int

    def create(self) -> tuple[Any, train_step.TrainStep, Any]:
        """Returns tx, step and the model's structure."""
        schedule = optimizer.create_schedule(
            self.config, steps_per_epoch=1, num_steps=100
        )
        tx = optimizer.create_optimizer(self.config, schedule, steps_per_epoch=1)
        graphdef, _ = train_state.model_structure(
            self.config, num_labels=self.num_labels
        )
        step = train_step.create_train_step(
            self.config, graphdef, tx, schedule, self.mesh, num_labels=self.num_labels
        )
        return tx, step, graphdef

    def batch(self, seed: int = 0) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        b, size = self.config.batch_size, self.config.image_size
        labels = rng.random((b, self.num_labels)) < 0.4
        return {
            "image": rng.integers(0, 256, (b, size, size, 3)).astype(np.uint8),
            "labels": labels.astype(np.float32),
        }

    def graph(self) -> label_graph.LabelGraph:
        """Four edges arrive at each label, from anywhere."""
        rng = np.random.default_rng(1)
        edges = 4 * self.num_labels
        nodes = (self.num_labels, self.config.graph.embedding_dim)
        return label_graph.LabelGraph(
            senders=rng.integers(0, self.num_labels, edges).astype(np.int32),
            receivers=np.repeat(np.arange(self.num_labels, dtype=np.int32), 4),
            edge_weights=rng.random(edges).astype(np.float32) / 2,
            embeddings=(rng.normal(size=nodes) / nodes[1] ** 0.5).astype(np.float32)
            if self.config.graph.embedding == "cooccurrence"
            else None,
        )

    def graph_on_devices(self) -> label_graph.LabelGraph:
        sharding = meshes.graph_sharded(
            self.mesh,
            num_labels=self.num_labels,
            embedding_dim=self.config.graph.embedding_dim,
        )
        return jax.device_put(self.graph(), sharding)

    def train(self, num_steps: int) -> tuple[train_state.TrainState, list[dict]]:
        """Returns the state after some steps, each on a batch of its own."""
        tx, step, _ = self.create()
        state = train_state.create_train_state(
            self.config, tx, self.mesh, num_labels=self.num_labels
        )
        graph = self.graph_on_devices()
        history = []
        for i in range(num_steps):
            batch = jax.device_put(self.batch(i), meshes.batch_sharded(self.mesh))
            state, metrics = step(state, batch, graph)
            history.append(jax.device_get(metrics))
        return state, history

    def abstract_state(self) -> train_state.TrainState:
        tx, *_ = self.create()
        return train_state.abstract_train_state(
            self.config, tx, self.mesh, num_labels=self.num_labels
        )

    def lower(self) -> jax.stages.Lowered:
        """Returns the step, traced for the shapes of its arguments."""
        _, step, _ = self.create()
        batch, graph = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, jnp.dtype(x.dtype)),
            (self.batch(), self.graph()),
        )
        return step.lower(self.abstract_state(), batch, graph)

    def compile(self) -> jax.stages.Compiled:
        return self.lower().compile()
