"""Loss and gradient of a batch, in one go or in micro-batches one after another."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mlgcn_jax.graph import label_graph
from mlgcn_jax.models import heads, mesh_axes
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import train_state
from mlgcn_jax.training.losses import cross_entropy

Batch = dict[str, jax.Array]
LossAndGradient = Callable[
    [train_state.Variables, Batch, label_graph.LabelGraph],
    tuple[jax.Array, dict[str, Any], dict[str, Any]],
]


def create_loss_and_gradient(
    graphdef: nnx.GraphDef, mesh: Mesh, *, accumulation_steps: int
) -> LossAndGradient:
    """Returns `(variables, batch, graph) -> (loss, batch_stats, gradient)`, unjitted.

    Loss and gradient are means over the batch. With several micro-batches batch norm
    sees each by itself, and running statistics move with each. The classifiers depend
    on no image: whatever the micro-batches, they and their gradient's way back through
    the head are computed once.
    """

    def loss_and_gradient(variables, batch, graph):
        params, batch_stats = variables

        def classify(head: Any) -> heads.Classifiers:
            model = nnx.merge(graphdef, params | {"head": head}, batch_stats)
            return model.classifiers(graph)

        def loss_of(backbone, classifiers, batch_stats, batch):
            model = nnx.merge(graphdef, params | {"backbone": backbone}, batch_stats)
            logits = classifiers.logits(model.features(batch["image"], train=True))
            labels = mesh_axes.lay_out(
                batch["labels"], mesh_axes.DATA_AXIS, mesh_axes.LABEL_AXIS
            )
            loss = cross_entropy.sigmoid_cross_entropy(logits, labels).mean()
            return loss, nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))

        classifiers, pull_back = jax.vjp(classify, params["head"])
        learnt = params["backbone"], classifiers
        gradient_of = jax.value_and_grad(loss_of, argnums=(0, 1), has_aux=True)

        def add(carry, micro_batch):
            batch_stats, total = carry
            (loss, batch_stats), grads = gradient_of(*learnt, batch_stats, micro_batch)
            return (batch_stats, jax.tree.map(jnp.add, total, (loss, grads))), None

        if accumulation_steps == 1:
            (loss, batch_stats), grads = gradient_of(*learnt, batch_stats, batch)
        else:
            nothing = jax.tree.map(jnp.zeros_like, (jnp.float32(0), learnt))
            (batch_stats, total), _ = jax.lax.scan(
                add,
                (batch_stats, nothing),
                split(batch, mesh, accumulation_steps=accumulation_steps),
            )
            loss, grads = jax.tree.map(lambda x: x / accumulation_steps, total)
        backbone, of_classifiers = grads
        (head,) = pull_back(of_classifiers)
        return loss, batch_stats, {"backbone": backbone, "head": head}

    return loss_and_gradient


def split(batch: Batch, mesh: Mesh, *, accumulation_steps: int) -> Batch:
    """Returns the micro-batches `[k, b / k, ...]` of a batch `[b, ...]`.

    The first has the examples 0, k, 2 k, ...: from neighbours each micro-batch gets
    one, so that every device works on those that it has, and how many devices there
    are does not change which examples meet.
    """
    sharding = NamedSharding(
        mesh, PartitionSpec(None, *meshes.batch_sharded(mesh).spec)
    )

    def split_one(x: jax.Array) -> jax.Array:
        x = x.reshape(-1, accumulation_steps, *x.shape[1:])  # [b / k, k, ...]
        return jax.lax.with_sharding_constraint(x.swapaxes(0, 1), sharding)

    return jax.tree.map(split_one, batch)
