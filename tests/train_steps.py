"""The train step on any mesh and label graph, without a dataset."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jax.sharding import Mesh

from mlgcn_jax.graph import label_graph
from mlgcn_jax.models import forms
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import train_state
from mlgcn_jax.training import program


class Case(NamedTuple):
    """A step and what it takes."""

    config: ml_collections.ConfigDict
    mesh: Mesh
    num_labels: int
    form: forms.Form | None = None

    def program(self) -> program.Program:
        return program.create_program(
            self.config,
            self.mesh,
            num_labels=self.num_labels,
            num_steps=100,
            form=self.form,
        )

    def batch(self, seed: int = 0) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        b, size = self.config.batch_size, self.config.image_size
        labels = rng.random((b, self.num_labels)) < 0.4
        return {
            "image": rng.integers(0, 256, (b, size, size, 3)).astype(np.uint8),
            "labels": labels.astype(np.float32),
            "size": np.full((b, 2), size, np.int32),
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
        return self.program().place_graph(self.graph())

    def train(self, num_steps: int) -> tuple[train_state.TrainState, list[dict]]:
        """Returns the state after some steps, each on a batch of its own."""
        made = self.program()
        state = made.create_state()
        graph = made.place_graph(self.graph())
        history = []
        for i in range(num_steps):
            batch = jax.device_put(self.batch(i), meshes.batch_sharded(self.mesh))
            state, metrics = made.step(state, batch, graph)
            history.append(jax.device_get(metrics))
        return state, history

    def abstract_state(self) -> train_state.TrainState:
        return self.program().abstract_state()

    def lower(self) -> jax.stages.Lowered:
        """Returns the step, traced for the shapes of its arguments."""
        batch, graph = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, jnp.dtype(x.dtype)),
            (self.batch(), self.graph()),
        )
        return self.program().step.lower(self.abstract_state(), batch, graph)

    def compile(self) -> jax.stages.Compiled:
        return self.lower().compile()
