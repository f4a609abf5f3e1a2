"""What else happens to feature maps: norms' statistics and pooling, with gradients."""

import functools

import jax
import ml_dtypes
import numpy as np

from mlgcn_jax.doctor.numbers import block
from mlgcn_jax.models import forms, layers


def blocks() -> list[block.Block]:
    """Returns the statistics in both types, the norm's gradient and the pooling's."""
    return [
        statistics(np.float32),
        statistics(ml_dtypes.bfloat16),
        norm(),
        max_pooling(),
    ]


def statistics(dtype: type) -> block.Block:
    """Returns mean and variance of channels, in float32 far from zero."""
    mean = 1.0 if dtype == ml_dtypes.bfloat16 else 100.0  # read once, or twice
    x = (mean + _normal(4, 8, 8, 16)).astype(dtype)
    wide = x.astype(np.float64)
    return block.Block(
        f"norm's statistics, {np.dtype(dtype).name}",
        lambda x: tuple(layers.batch_statistics(x)),
        (x,),
        (wide.mean((0, 1, 2)), wide.var((0, 1, 2))),
        "float32",
    )


def norm() -> block.Block:
    """Returns a map normalised by its own statistics, and the gradient of that."""
    x, d_y = _normal(4, 8, 8, 16) + np.float32(0.5), _normal(4, 8, 8, 16, seed=1)
    scale, bias = np.linspace(0.5, 2, 16, dtype=np.float32), np.ones(16, np.float32)

    def forward_and_backward(x, scale, bias, d_y):
        def normalise(x):
            found = layers.batch_statistics(x)
            by, plus = layers.scale_and_offset(scale, bias, found)
            return x * by[None, None, None, :] + plus[None, None, None, :]

        y, pull_back = jax.vjp(normalise, x)
        return y, *pull_back(d_y)

    wide, d_wide = x.astype(np.float64), d_y.astype(np.float64) * scale
    axes = (0, 1, 2)
    by = (wide.var(axes) + layers.BATCH_NORM_EPSILON) ** -0.5
    unit = (wide - wide.mean(axes)) * by
    d_x = by * (d_wide - d_wide.mean(axes) - unit * (d_wide * unit).mean(axes))
    return block.Block(
        "norm with its gradient",
        forward_and_backward,
        (x, scale, bias, d_y),
        (unit * scale + bias, d_x),
        "function",
    )


def max_pooling() -> block.Block:
    """Returns the maximum over 3 x 3 windows, stride 2, and its gradient."""
    x, d_y = _normal(2, 9, 8, 4), _normal(2, 5, 4, 4, seed=1)

    def forward_and_backward(x, d_y):
        form = forms.here()
        pool = functools.partial(layers.max_pool_3x3_stride_2, form=form)
        y, pull_back = jax.vjp(pool, x)
        return y, *pull_back(d_y)

    y, d_x = np.zeros(d_y.shape), np.zeros(x.shape)
    for b, h, w, c in np.ndindex(d_y.shape):
        top, left = max(2 * h - 1, 0), max(2 * w - 1, 0)
        window = x[b, top : 2 * h + 2, left : 2 * w + 2, c]
        down, right = np.unravel_index(window.argmax(), window.shape)
        y[b, h, w, c] = window.max()
        d_x[b, top + down, left + right, c] += d_y[b, h, w, c]
    return block.Block(
        "max pooling's gradient",
        forward_and_backward,
        (x, d_y),
        (y, d_x),
        "float32",
    )


def _normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
