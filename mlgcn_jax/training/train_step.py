"""One update: augmentation, gradient, Adam, moving average."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh

from mlgcn_jax.data import config_dict
from mlgcn_jax.devices import compiler
from mlgcn_jax.graph import label_graph
from mlgcn_jax.learning.augmentations import registry as augmentations
from mlgcn_jax.learning.losses import contract
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import train_state
from mlgcn_jax.training import gradients, training_batches

# Of the model's randomness. The flip draws from a step's key itself, as it did before
# anything else was random.
_MODEL_STREAM = 0

TrainStep = Callable[
    [train_state.TrainState, dict[str, Any], label_graph.LabelGraph],
    tuple[train_state.TrainState, dict[str, jax.Array]],
]


def create_train_step(
    config: config_dict.ConfigDict,
    graphdef: nnx.GraphDef,
    tx: optax.GradientTransformation,
    schedule: optax.Schedule,
    loss: contract.Loss,
    mesh: Mesh,
    *,
    num_labels: int,
    steps_per_epoch: float,
) -> TrainStep:
    """Returns the jit-compiled step `(state, batch, graph) -> (state, metrics)`.

    The state is donated. The batch is that of `augmentations.contract`, split over the
    devices of the mesh; gradients and batch statistics are those of the whole batch
    (statistics of a micro-batch, where there are several).
    Random numbers depend on seed and step alone, so that a resumed run sees the same
    ones. Metrics are float32 scalars on the device.
    """
    loss_and_gradient = gradients.create_loss_and_gradient(
        graphdef, loss, mesh, accumulation_steps=config.accumulation_steps
    )
    augment = augmentations.create(
        training_batches.augmentation_options(config), pad_colour=config.pad_colour
    )

    def step_fn(state, batch, graph):
        key = jax.random.fold_in(jax.random.key(config.seed), state.step)
        batch = augment(batch, key)
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            loss, batch_stats, grads = loss_and_gradient(
                state.variables,
                batch,
                graph,
                jax.random.fold_in(key, _MODEL_STREAM),
                state.step / jnp.float32(steps_per_epoch),
            )

        params = state.variables.params
        updates, opt_state = tx.update(grads, state.opt_state, params)
        new_params: Any = optax.apply_updates(params, updates)
        variables = train_state.Variables(new_params, batch_stats)
        ema: Any = state.ema
        if ema is not None:
            decay = config.optimizer.ema_decay
            # A short memory at first, or the average would keep the initial values.
            decay = jnp.minimum(decay, (1.0 + state.step) / (10.0 + state.step))
            ema = optax.incremental_update(variables, ema, 1.0 - decay)
        new_state = train_state.TrainState(state.step + 1, variables, ema, opt_state)
        metrics = {
            "loss": loss,
            "grad_norm": optax.tree.norm(grads),
            "param_norm": optax.tree.norm(new_params),  # after the update
            "learning_rate": jnp.asarray(schedule(state.step), jnp.float32),
        }
        return new_state, metrics

    of_state = train_state.state_shardings(config, tx, mesh, num_labels=num_labels)
    of_graph = meshes.graph_sharded(
        mesh, num_labels=num_labels, embedding_dim=config.graph.embedding_dim
    )
    return compiler.jit(
        step_fn,
        platform=meshes.platform_of(mesh),
        donate_argnums=0,
        in_shardings=(of_state, meshes.batch_sharded(mesh), of_graph),
        out_shardings=(of_state, meshes.replicated(mesh)),
    )
