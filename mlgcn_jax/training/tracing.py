"""A config tried before its run is made: whether its model can be made and trained.

What we wrote is known to train; a step and inference are traced only where something of
others is named, and nothing is computed but what a head of others makes of a few random
numbers.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh

from mlgcn_jax.data import config_dict, foreign_code
from mlgcn_jax.devices import compiler
from mlgcn_jax.graph import label_graph
from mlgcn_jax.models import contract, inference, registry
from mlgcn_jax.runs import train_state
from mlgcn_jax.training import program


def check(
    config: config_dict.ConfigDict,
    mesh: Mesh,
    graph: label_graph.LabelGraph,
    *,
    num_labels: int,
) -> None:
    """Checks that the config can be trained and its model used.

    Raises:
        ValueError: it cannot; the message says why, the error of others is its cause.
    """
    graphdef, variables = train_state.model_structure(config, num_labels=num_labels)
    names = (config.model.backbone, config.model.head, config.loss.name)
    others = [name for name in names if foreign_code.is_foreign(name)]
    others += config.augmentation.foreign
    if not others:
        return
    size, named = config.image_size, " and ".join(others)
    batch = {
        "image": jax.ShapeDtypeStruct((config.batch_size, size, size, 3), jnp.uint8),
        "labels": jax.ShapeDtypeStruct((config.batch_size, num_labels), jnp.float32),
        "size": jax.ShapeDtypeStruct((config.batch_size, 2), jnp.int32),
    }
    with foreign_code.refused(named, "where a training step is traced"):
        made = program.create_program(config, mesh, num_labels=num_labels)
        jax.eval_shape(made.step, made.abstract_state(), batch, graph)

    def score(variables: train_state.Variables, image: jax.Array) -> jax.Array:
        return inference.fold(nnx.merge(graphdef, *variables), graph)(image)

    with foreign_code.refused(named, "where inference is traced"):
        jax.eval_shape(score, variables, batch["image"])
    if foreign_code.is_foreign(config.model.head):
        _check_head_is_finite(config, graph, num_labels=num_labels)


def _check_head_is_finite(
    config: config_dict.ConfigDict, graph: label_graph.LabelGraph, *, num_labels: int
) -> None:
    """Raises ValueError where a head makes NaN or infinities of numbers in (0, 1).

    It has the run's initial parameters. What a backbone may hand out at its mildest is
    drawn in place of what it does, which XLA then leaves out.
    """
    size = config.image_size

    def answer(graph: label_graph.LabelGraph) -> list[contract.HeadOutput]:
        model = registry.create_model(
            config, num_labels=num_labels, rngs=nnx.Rngs(config.seed)
        )
        features = model.features(jnp.zeros((2, size, size, 3), jnp.uint8), train=False)
        key = jax.random.key(0)
        drawn = jax.tree.map(
            lambda x: jax.random.uniform(key, x.shape, minval=0.01),
            (features.feature_map, features.taps),
        )
        features = features._replace(feature_map=drawn[0], taps=drawn[1])
        labels = jnp.zeros((2, num_labels)).at[0].set(1)
        scorer = model.scorer(graph)
        return [
            scorer(features, contract.Context(train=True, key=key, labels=labels)),
            scorer(features, contract.Context()),
        ]

    outputs = compiler.jit(answer)(graph)
    if not all(jnp.isfinite(x).all() for x in jax.tree.leaves(outputs)):
        raise ValueError(
            f"config.model.head={config.model.head!r} returns NaN or infinities "
            "with its initial parameters, for a feature map of numbers between 0 and "
            "1; look for a division by zero, or a logarithm or root of what may be "
            "negative"
        )
