"""A config tried before its run is made: whether its model can be made and trained.

Nothing is computed. What we wrote is known to train; a step and inference are traced
only where something of others is named.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh

from mlgcn_jax.data import config_dict, foreign_names
from mlgcn_jax.graph import label_graph
from mlgcn_jax.models import construction, inference
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
    others = [name for name in names if foreign_names.is_foreign(name)]
    others += config.augmentation.foreign
    if not others:
        return
    size, named = config.image_size, " and ".join(others)
    batch = {
        "image": jax.ShapeDtypeStruct((config.batch_size, size, size, 3), jnp.uint8),
        "labels": jax.ShapeDtypeStruct((config.batch_size, num_labels), jnp.float32),
        "size": jax.ShapeDtypeStruct((config.batch_size, 2), jnp.int32),
    }
    with construction.refused(named, "where a training step is traced"):
        made = program.create_program(config, mesh, num_labels=num_labels)
        jax.eval_shape(made.step, made.abstract_state(), batch, graph)

    def score(variables: train_state.Variables, image: jax.Array) -> jax.Array:
        return inference.fold(nnx.merge(graphdef, *variables), graph)(image)

    with construction.refused(named, "where inference is traced"):
        jax.eval_shape(score, variables, batch["image"])
