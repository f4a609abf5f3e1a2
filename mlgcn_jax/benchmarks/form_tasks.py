"""Layers and whole models in the form of this platform: our side of measure F.

`plain_form_tasks` is the other contestant. A form stays where it wins here.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from mlgcn_jax.benchmarks import jax_tasks, tasks
from mlgcn_jax.devices import compiler
from mlgcn_jax.models import block_layers, densenet, forms, layers, registry

Made = tuple[Callable[..., Array], tuple[Any, ...]]  # a function and its arguments


def compare(*, what: str, form: forms.Form | None = None, **case: Any) -> tasks.Task:
    """Returns a layer with its gradient, or a whole step or inference.

    Args:
        what: a key of `LAYERS`, "train" or "infer".
        form: None: that of the platform.
        case: of the layer: `batch_size`, `side`, `num_features` and `dtype`; of the
            rest, what `jax_tasks` takes.
    """
    form = form or forms.here()
    if whole := {"train": jax_tasks.train, "infer": jax_tasks.infer}.get(what):
        return whole(form=form, **case)
    function, arguments = LAYERS[what](form=form, **case)

    def loss(*arguments: Any) -> Array:
        return jnp.sum(jnp.sin(function(*arguments).astype(jnp.float32)))

    gradient = compiler.jit(jax.grad(loss, argnums=tuple(range(len(arguments)))))
    arguments = jax.device_put(arguments)
    return tasks.Task(lambda: jax.block_until_ready(gradient(*arguments)))


def _map(batch_size: int, side: int, num_features: int, dtype: str) -> Array:
    shape = (batch_size, side, side, num_features)
    return jax.random.normal(jax.random.key(0), shape, registry.DTYPES[dtype])


def _convolution(*, form: forms.Form, num_features: int, **of_map: Any) -> Made:
    """1x1, to 128 features, as in a dense layer."""
    x = _map(num_features=num_features, **of_map)
    kernel = jax.random.normal(jax.random.key(1), (1, 1, num_features, 128), x.dtype)
    return functools.partial(layers.convolve, form=form), (x, kernel)


def _max_pooling(*, form: forms.Form, **of_map: Any) -> Made:
    return functools.partial(layers.max_pool_3x3_stride_2, form=form), (_map(**of_map),)


def _depthwise(*, form: forms.Form, num_features: int, **of_map: Any) -> Made:
    """7x7, as in ConvNeXt."""
    x = _map(num_features=num_features, **of_map)
    kernel = jax.random.normal(jax.random.key(1), (7, 7, 1, num_features), x.dtype)
    return functools.partial(block_layers.depthwise, form=form), (x, kernel)


def _norm(*, form: forms.Form, num_features: int, dtype: str, **of_map: Any) -> Made:
    """And ReLU, of the maps of five dense layers side by side."""
    x = _map(num_features=num_features, dtype=dtype, **of_map)
    maps = jnp.split(x, [num_features - 32 * i for i in range(5, 0, -1)], axis=-1)
    norm = layers.BatchNorm(num_features, dtype=registry.DTYPES[dtype], form=form)
    graphdef, params, batch_stats = _split(norm)

    def relu(params: Any, maps: list[Array]) -> Array:
        norm: layers.BatchNorm = nnx.merge(graphdef, params, batch_stats)
        found = layers.concatenate_statistics([*map(layers.batch_statistics, maps)])
        return norm.relu(maps, train=True, statistics=found)

    return relu, (params, maps)


def _dense_block(
    *, form: forms.Form, num_features: int, dtype: str, **of_map: Any
) -> Made:
    """Six layers, as the first of DenseNet-121."""
    block = densenet.DenseBlock(
        *(num_features, 6),
        growth_rate=32,
        bottleneck_factor=4,
        dtype=registry.DTYPES[dtype],
        form=form,
        rngs=nnx.Rngs(0),
    )
    graphdef, params, batch_stats = _split(block)

    def run(params: Any, x: Array) -> Array:
        maps, _ = nnx.merge(graphdef, params, batch_stats)(x, train=True)
        return jnp.concatenate(maps, axis=-1)

    x = _map(num_features=num_features, dtype=dtype, **of_map)
    return run, (params, x)


def _split(module: nnx.Module) -> tuple[nnx.GraphDef, Any, Any]:
    """Returns its structure, parameters and running statistics."""
    graphdef, params, batch_stats = nnx.split(module, nnx.Param, nnx.BatchStat)
    return graphdef, nnx.to_pure_dict(params), nnx.to_pure_dict(batch_stats)


LAYERS: Mapping[str, Callable[..., Made]] = {
    "1x1 convolution": _convolution,
    "max pooling": _max_pooling,
    "depthwise convolution": _depthwise,
    "norm and ReLU": _norm,
    "dense block": _dense_block,
}

TASKS: dict[str, Callable[..., tasks.Task]] = {"F": compare}
