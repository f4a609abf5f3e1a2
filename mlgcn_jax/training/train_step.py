"""One update: augmentation, forward, loss, backward, Adam, moving average."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh

from mlgcn_jax.data import config_dict
from mlgcn_jax.graph import label_graph
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import train_state
from mlgcn_jax.training import augmentations, losses

TrainStep = Callable[
    [train_state.TrainState, dict[str, Any], label_graph.LabelGraph],
    tuple[train_state.TrainState, dict[str, jax.Array]],
]


def create_train_step(
    config: config_dict.ConfigDict,
    graphdef: nnx.GraphDef,
    tx: optax.GradientTransformation,
    schedule: optax.Schedule,
    mesh: Mesh,
) -> TrainStep:
    """Returns the jit-compiled step `(state, batch, graph) -> (state, metrics)`.

    The state is donated. The batch is `{"image": uint8 [b h w 3], "labels": float32
    [b l]}`, split over the devices of the mesh; gradients and batch statistics are
    those of the whole batch. Random numbers depend on seed and step alone, so that a
    resumed run sees the same ones. Metrics are float32 scalars on the device.
    """

    def step_fn(state, batch, graph):
        key = jax.random.fold_in(jax.random.key(config.seed), state.step)
        image = batch["image"]
        if config.flip:
            image = augmentations.flip_horizontally(image, key)

        def loss_fn(params):
            model = nnx.merge(graphdef, params, state.variables.batch_stats)
            logits = model(image, graph, train=True)
            loss = losses.sigmoid_cross_entropy(logits, batch["labels"])
            return loss, nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))

        params = state.variables.params
        (loss, batch_stats), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
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

    replicated = meshes.replicated(mesh)
    return jax.jit(
        step_fn,
        donate_argnums=0,
        in_shardings=(replicated, meshes.batch_sharded(mesh), replicated),
        out_shardings=replicated,
    )
