"""Layers straight from lax and from the formulas: the oracle of the backbones."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from mlgcn_jax.devices import compiler
from mlgcn_jax.graph import label_graph


def conv(x: jax.Array, kernel: jax.Array, stride: int = 1, padding: int = 0):
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        ((padding, padding), (padding, padding)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def norm(x: jax.Array, p: dict[str, jax.Array]):
    mean = x.mean((0, 1, 2), keepdims=True)
    var = x.var((0, 1, 2), keepdims=True)
    scale, bias = (p[name].reshape(1, 1, 1, -1) for name in ("scale", "bias"))
    return scale * (x - mean) / jnp.sqrt(var + 1e-5) + bias


def norm_relu(x: jax.Array, p: dict[str, jax.Array]):
    return jax.nn.relu(norm(x, p))


def multiply(graph: label_graph.LabelGraph, nodes: jax.Array) -> jax.Array:
    """`A_hat @ nodes`: a message an edge, added up by scatter, its gradient too."""
    messages = jnp.asarray(graph.edge_weights)[:, None] * nodes[graph.senders]
    return jax.ops.segment_sum(messages, graph.receivers, num_segments=len(nodes))


def max_pool(x: jax.Array):
    return _pool(x, -jnp.inf, lax.max, 3, 1)


def average_pool(x: jax.Array):
    return _pool(x, 0.0, lax.add, 2, 0) / 4


def _pool(x: jax.Array, start: float, op: Any, window: int, padding: int):
    return lax.reduce_window(
        x,
        start,
        op,
        (1, window, window, 1),
        (1, 2, 2, 1),
        ((0, 0), (padding, padding), (padding, padding), (0, 0)),
    )


def assert_trains_like(
    model: nnx.Module,
    plain: Callable[[dict[str, Any], jax.Array], jax.Array],
    *,
    map_shape: tuple[int, ...],
):
    """Training forward and gradient are those of the plain form `(params, image)`."""
    graphdef, params, batch_stats = nnx.split(model, nnx.Param, nnx.BatchStat)
    params = nnx.to_pure_dict(params)
    batch_stats = nnx.to_pure_dict(batch_stats)
    # Scales and offsets away from 1 and 0, or half of the arithmetic would not show.
    keys = iter(jax.random.split(jax.random.key(1), len(jax.tree.leaves(params))))
    params = jax.tree.map(
        lambda p: p + 0.2 * jax.random.normal(next(keys), p.shape), params
    )
    x = jax.random.normal(jax.random.key(2), (3, 37, 32, 3))
    weight = jax.random.normal(jax.random.key(3), map_shape)

    def ours(params):
        y = nnx.merge(graphdef, params, batch_stats)(x, train=True).feature_map
        assert y.shape == map_shape
        return jnp.sum(y * weight)

    value, gradient = compiler.jit(jax.value_and_grad(ours))(params)

    # In float64, so that all rounding is ours.
    def expected(params, x, weight):
        return jnp.sum(plain(params, x) * weight)

    with jax.enable_x64(True):
        exact = jax.tree.map(lambda p: np.asarray(p, np.float64), (params, x, weight))
        expected_value, expected_gradient = jax.device_get(
            compiler.jit(jax.value_and_grad(expected))(*exact)
        )
    np.testing.assert_allclose(value, expected_value, rtol=1e-4)

    def assert_near(ours, plain):
        # Entries near zero are differences of large ones: they keep fewer digits.
        atol = 1e-4 * np.abs(plain).max()
        np.testing.assert_allclose(ours, plain, rtol=1e-3, atol=atol)

    jax.tree.map(assert_near, gradient, expected_gradient)
