"""The train state: everything that a step changes, as plain nested dicts."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array, Int32

from mlgcn_jax.data import config_dict
from mlgcn_jax.devices import compiler
from mlgcn_jax.models import forms, multi_label_model, registry
from mlgcn_jax.runs import mesh as meshes

# Random draws of every kernel, once a run: LLVM at its first level takes a third to two
# thirds less time, and they have the same bits (docs/performance.md).
_RUN_ONCE: Mapping[str, compiler.Option] = {"xla_backend_optimization_level": 1}


class Variables(NamedTuple):
    """What the model needs to compute; nested dicts of float32 arrays."""

    params: dict[str, Any]
    batch_stats: dict[str, Any]


class TrainState(NamedTuple):
    """Everything that a step changes; checkpoints hold all of it.

    Attributes:
        step: number of updates made.
        variables: parameters and running statistics.
        ema: their exponential moving average, None where it is not kept.
        opt_state: state of the optimiser.
    """

    step: Int32[Array, ""]
    variables: Variables
    ema: Variables | None
    opt_state: optax.OptState


def model_structure(
    config: config_dict.ConfigDict, *, num_labels: int, form: forms.Form = "plain"
) -> tuple[nnx.GraphDef, Variables]:
    """Returns the model's static structure and the shapes of its variables.

    Nothing is computed: `nnx.merge(graphdef, *variables)` is the model.
    """
    model = abstract_model(config, num_labels=num_labels, form=form)
    return nnx.graphdef(model), _variables(model)


def abstract_model(
    config: config_dict.ConfigDict, *, num_labels: int, form: forms.Form = "plain"
) -> multi_label_model.MultiLabelModel:
    """Returns the model with the shapes of its variables alone."""
    return nnx.eval_shape(
        lambda: registry.create_model(
            config, num_labels=num_labels, form=form, rngs=nnx.Rngs(0)
        )
    )


def create_train_state(
    config: config_dict.ConfigDict,
    tx: optax.GradientTransformation,
    mesh: Mesh,
    *,
    num_labels: int,
) -> TrainState:
    """Returns the state before the first step, laid out as `state_shardings` says."""
    shardings = state_shardings(config, tx, mesh, num_labels=num_labels)

    def initialize() -> TrainState:
        return _initialize(config, tx, num_labels=num_labels)

    return compiler.jit(initialize, on_cpu=_RUN_ONCE, out_shardings=shardings)()


def abstract_train_state(
    config: config_dict.ConfigDict,
    tx: optax.GradientTransformation,
    mesh: Mesh,
    *,
    num_labels: int,
) -> TrainState:
    """Returns the shapes of the state and how it is laid out; nothing is computed."""
    return meshes.with_sharding(
        jax.eval_shape(lambda: _initialize(config, tx, num_labels=num_labels)),
        state_shardings(config, tx, mesh, num_labels=num_labels),
    )


def state_shardings(
    config: config_dict.ConfigDict,
    tx: optax.GradientTransformation,
    mesh: Mesh,
    *,
    num_labels: int,
) -> TrainState | NamedSharding:
    """Returns the shardings of the state, or the one that all of it has.

    What the head, the optimiser and the moving average keep of each label is split over
    the devices that share the labels; each holds the rest whole.
    """

    def shapes(num_labels: int) -> TrainState:
        return jax.eval_shape(lambda: _initialize(config, tx, num_labels=num_labels))

    return meshes.sharded_by_label(shapes, mesh, num_labels=num_labels)


def _initialize(
    config: config_dict.ConfigDict,
    tx: optax.GradientTransformation,
    *,
    num_labels: int,
) -> TrainState:
    model = registry.create_model(
        config, num_labels=num_labels, rngs=nnx.Rngs(config.seed)
    )
    variables = _variables(model)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        variables=variables,
        # Added to zero: donated arguments must not share buffers.
        ema=jax.tree.map(lambda x: x + 0, variables)
        if config.optimizer.ema_decay
        else None,
        opt_state=tx.init(variables.params),
    )


def _variables(model: nnx.Module) -> Variables:
    return Variables(
        params=nnx.to_pure_dict(nnx.state(model, nnx.Param)),
        batch_stats=nnx.to_pure_dict(nnx.state(model, nnx.BatchStat)),
    )
