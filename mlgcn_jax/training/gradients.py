"""Loss and gradient of a batch, in one go or in micro-batches one after another."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from mlgcn_jax.graph import label_graph
from mlgcn_jax.learning.losses import contract as losses
from mlgcn_jax.models import contract, mesh_axes
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import train_state

Batch = dict[str, jax.Array]
LossAndGradient = Callable[
    [train_state.Variables, Batch, label_graph.LabelGraph, jax.Array, losses.Epoch],
    tuple[jax.Array, dict[str, Any], dict[str, Any]],
]


def create_loss_and_gradient(
    graphdef: nnx.GraphDef,
    loss: losses.Loss,
    mesh: Mesh,
    *,
    accumulation_steps: int,
) -> LossAndGradient:
    """Returns `(variables, batch, graph, key, epoch) -> (loss, batch_stats, gradient)`.

    It is not jitted; `epoch` is as in `losses.contract`. Loss and gradient are means
    over the batch. With several micro-batches batch norm sees each by itself, running
    statistics move with each, and each draws from a key of its own. The scorer depends
    on no image: whatever the micro-batches, it and its gradient's way back through the
    head are computed once.
    """

    def loss_and_gradient(variables, batch, graph, key, epoch):
        params, batch_stats = variables

        def make_scorer(head: Any) -> contract.Scorer:
            model = nnx.merge(graphdef, params | {"head": head}, batch_stats)
            return model.scorer(graph)

        def loss_of(backbone, scorer, batch_stats, batch, key):
            model = nnx.merge(graphdef, params | {"backbone": backbone}, batch_stats)
            backbone_key, scorer_key = jax.random.split(key)
            features = model.features(batch["image"], train=True, key=backbone_key)
            labels = mesh_axes.lay_out(
                batch["labels"], mesh_axes.DATA_AXIS, mesh_axes.LABEL_AXIS
            )
            output = scorer(
                features, contract.Context(train=True, key=scorer_key, labels=labels)
            )
            contract.check(output, labels.shape)
            total = total_loss(loss, output, labels, epoch)
            return total, nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))

        scorer, pull_back = jax.vjp(make_scorer, params["head"])
        learnt = params["backbone"], scorer
        gradient_of = jax.value_and_grad(loss_of, argnums=(0, 1), has_aux=True)

        def add(carry, numbered):
            batch_stats, total = carry
            i, micro_batch = numbered
            (value, batch_stats), grads = gradient_of(
                *learnt, batch_stats, micro_batch, jax.random.fold_in(key, i)
            )
            return (batch_stats, jax.tree.map(jnp.add, total, (value, grads))), None

        if accumulation_steps == 1:
            (value, batch_stats), grads = gradient_of(*learnt, batch_stats, batch, key)
        else:
            nothing = jax.tree.map(jnp.zeros_like, (jnp.float32(0), learnt))
            (batch_stats, total), _ = jax.lax.scan(
                add,
                (batch_stats, nothing),
                (
                    jnp.arange(accumulation_steps),
                    split(batch, mesh, accumulation_steps=accumulation_steps),
                ),
            )
            value, grads = jax.tree.map(lambda x: x / accumulation_steps, total)
        backbone, of_scorer = grads
        (head,) = pull_back(of_scorer)
        return value, batch_stats, {"backbone": backbone, "head": head}

    return loss_and_gradient


def total_loss(
    loss: losses.Loss,
    output: contract.HeadOutput,
    labels: Float[Array, "b l"],
    epoch: losses.Epoch,
) -> Float[Array, ""]:
    """Returns the mean loss of the images, auxiliary ones' too, and the penalty."""

    def mean(logits: Float[Array, "b l"]) -> Float[Array, ""]:
        return loss(logits, labels, output.entry_weights, epoch).mean()

    auxiliary = sum(weight * mean(logits) for weight, logits in output.auxiliary)
    return mean(output.logits) + auxiliary + output.penalty


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
