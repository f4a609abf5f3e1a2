"""A dense block in training, in the form that is fastest on a CPU.

`densenet.DenseBlock` has the plain form of the same numbers, which GPUs are given. Here
features are matrices [m, c], m = b * h * w being all positions of a batch, and:

* All features lie in one buffer that each layer writes its own to.
* Both convolutions are matrix products: XLA's convolution of 128 to 32 channels and its
  gradients take up to twice the time. The 3x3 one is one product to 9 x 32 columns and
  a sum of nine shifts; for its gradient nine shifts of dy are gathered once, and two
  products give the gradients of input and kernel.
* The gradient is written by hand. Kept for it are the features and what the 1x1
  convolutions give (with `remat` the features alone: these are computed again as well);
  norms and ReLUs are computed again. From layer to layer, backwards, the gradient of
  the features gets narrower: nothing is sliced apart and added up.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from mlgcn_jax.models import layers

_SHIFTS = [(row, column) for row in range(3) for column in range(3)]


class LayerParams(NamedTuple):
    """Parameters of one dense layer; g new features from a width of k."""

    scale1: Float[Array, " c"]
    bias1: Float[Array, " c"]
    kernel1: Float[Array, "1 1 c k"]
    scale2: Float[Array, " k"]
    bias2: Float[Array, " k"]
    kernel2: Float[Array, "3 3 k g"]


class Output(NamedTuple):
    """What a block gives.

    Attributes:
        features: those it was given and those of every layer.
        statistics: of all features.
        inner: of the input of every layer's second norm.
    """

    features: Float[Array, "b h w c2"]
    statistics: layers.Statistics
    inner: list[layers.Statistics]


class _Saved(NamedTuple):
    """What the forward pass keeps for the gradient."""

    params: list[LayerParams]
    output: Output
    # Of every layer's 1x1 convolution; None where it is computed again.
    outputs1: list[Float[Array, "m k"] | None]


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def dense_block(
    params: list[LayerParams],
    x: Float[Array, "b h w c"],
    statistics: layers.Statistics,
    remat: bool,
) -> Output:
    """Returns the features of the block and the batch statistics behind them.

    Args:
        params: of the layers, in their order.
        x: feature map, float32.
        statistics: `layers.batch_statistics(x)`. Their gradient is theirs alone: that
            of x goes through whoever computed them.
        remat: keep less for the gradient, and compute more again.
    """
    return _forward(params, x, statistics, remat)[0]


def _forward(
    params: list[LayerParams],
    x: Float[Array, "b h w c"],
    statistics: layers.Statistics,
    remat: bool,
) -> tuple[Output, _Saved]:
    b, h, w, c = x.shape
    growth_rate = params[0].kernel2.shape[-1]
    buffer = jnp.zeros((b * h * w, c + growth_rate * len(params)), x.dtype)
    buffer = lax.dynamic_update_slice(buffer, x.reshape(-1, c), (0, 0))
    parts, inner, outputs1 = [statistics], [], []
    for layer in params:
        known = layers.concatenate_statistics(parts)
        scale, offset = layers.scale_and_offset(layer.scale1, layer.bias1, known)
        y = jax.nn.relu(_norm(buffer[:, :c], scale, offset)) @ layer.kernel1[0, 0]
        outputs1.append(None if remat else y)
        inner.append(_statistics(y))
        scale, offset = layers.scale_and_offset(layer.scale2, layer.bias2, inner[-1])
        new = _convolve(jax.nn.relu(_norm(y, scale, offset)), layer.kernel2, (b, h, w))
        # Left alone, XLA adds up the nine shifts once more for the statistics.
        new = lax.optimization_barrier(new)
        parts.append(_statistics(new))
        buffer = lax.dynamic_update_slice(buffer, new, (0, c))
        c += growth_rate
    features = buffer.reshape(b, h, w, -1)  # [b, h, w, c2]
    output = Output(features, layers.concatenate_statistics(parts), inner)
    return output, _Saved(params, output, outputs1)


def _backward(
    remat: bool, saved: _Saved, cotangent: Output
) -> tuple[list[LayerParams], Float[Array, "b h w c"], layers.Statistics]:
    b, h, w, c = saved.output.features.shape
    growth_rate = saved.params[0].kernel2.shape[-1]
    features = saved.output.features.reshape(-1, c)
    mean, var = saved.output.statistics
    d_features = cotangent.features.reshape(-1, c)
    d_mean, d_var = cotangent.statistics
    gradients = []
    for layer, y, inner, d_inner in zip(
        reversed(saved.params),
        reversed(saved.outputs1),
        reversed(saved.output.inner),
        reversed(cotangent.inner),
        strict=True,
    ):
        c -= growth_rate
        mine = slice(c, c + growth_rate)
        d_new = _add_gradient_of_statistics(
            d_features[:, mine],
            features[:, mine],
            layers.Statistics(mean[mine], var[mine]),
            layers.Statistics(d_mean[mine], d_var[mine]),
        )
        known = layers.Statistics(mean[:c], var[:c])
        first = features[:, :c], layer.scale1, layer.bias1, known
        if y is None:
            y = _norm_relu(*first, wait_for=d_mean[0])[0] @ layer.kernel1[0, 0]
        after, pull = _norm_relu(
            y, layer.scale2, layer.bias2, inner, wait_for=d_mean[0]
        )
        d_after, d_kernel2 = _convolution_gradient(
            after, layer.kernel2, d_new, (b, h, w)
        )
        d_y, d_scale2, d_bias2, d_statistics = pull(d_after)
        d_statistics = jax.tree.map(jnp.add, d_statistics, d_inner)
        d_y = _add_gradient_of_statistics(d_y, y, inner, d_statistics)

        after, pull = _norm_relu(*first, wait_for=d_statistics.mean[0])
        # As (k, c) and turned: of the two orders of this product the faster one.
        d_kernel1 = jnp.einsum("mk,mc->kc", d_y, after).T
        d_after = jnp.einsum("mk,ck->mc", d_y, layer.kernel1[0, 0])
        d_known, d_scale1, d_bias1, d_statistics = pull(d_after)
        d_features = d_features[:, :c] + d_known
        d_mean = d_mean[:c] + d_statistics.mean
        d_var = d_var[:c] + d_statistics.var
        gradients.append(
            LayerParams(
                d_scale1, d_bias1, d_kernel1[None, None], d_scale2, d_bias2, d_kernel2
            )
        )
    d_x = d_features.reshape(b, h, w, c)
    return gradients[::-1], d_x, layers.Statistics(d_mean, d_var)


dense_block.defvjp(_forward, _backward)


def _statistics(x: Float[Array, "m c"]) -> layers.Statistics:
    return layers.batch_statistics(x[:, None, None, :])


def _norm(
    x: Float[Array, "m c"], scale: Float[Array, " c"], offset: Float[Array, " c"]
) -> Float[Array, "m c"]:
    return x * scale[None, :] + offset[None, :]


def _norm_relu(
    x: Float[Array, "m c"],
    scale: Float[Array, " c"],
    bias: Float[Array, " c"],
    statistics: layers.Statistics,
    *,
    wait_for: Float[Array, ""],
) -> tuple[Float[Array, "m c"], Callable]:
    """Returns a norm and ReLU computed again, and what pulls a gradient back.

    That is from the output to x (without the part through the statistics), scale, bias
    and statistics. Left alone, XLA would compute the norms of all layers first and read
    each again when the cache has long lost it: adding nothing of a number that the
    layer before it in the backward pass gives makes each wait for its turn.
    """
    (factor, offset), pull = jax.vjp(layers.scale_and_offset, scale, bias, statistics)
    factor += 0.0 * wait_for
    before = _norm(x, factor, offset)

    def pull_back(
        d_after: Float[Array, "m c"],
    ) -> tuple[Array, Array, Array, layers.Statistics]:
        d_before = jnp.where(before > 0, d_after, 0.0)
        through_norm = pull(((d_before * x).sum(0), d_before.sum(0)))
        return d_before * factor[None, :], *through_norm

    return jax.nn.relu(before), pull_back


def _add_gradient_of_statistics(
    d_x: Float[Array, "m c"],
    x: Float[Array, "m c"],
    statistics: layers.Statistics,
    d_statistics: layers.Statistics,
) -> Float[Array, "m c"]:
    """Adds to the gradient of x what reaches it through its mean and variance."""
    count = x.shape[0]
    d_mean = d_statistics.mean[None, :] / count
    d_var = 2.0 * d_statistics.var[None, :] / count
    return d_x + d_mean + (x - statistics.mean[None, :]) * d_var


def _convolve(
    x: Float[Array, "m k"], kernel: Float[Array, "3 3 k g"], shape: tuple[int, int, int]
) -> Float[Array, "m g"]:
    """Returns the 3x3 convolution, zero padding: nine shifts of a product's columns."""
    k, g = kernel.shape[2:]
    columns = x @ kernel.transpose(2, 0, 1, 3).reshape(k, 9 * g)
    columns = columns.reshape(*shape, 9, g)  # [b, h, w, shift, g]
    shifted = (
        lax.pad(
            columns[..., i, :],
            jnp.zeros((), x.dtype),
            ((0, 0, 0), (1 - row, row - 1, 0), (1 - column, column - 1, 0), (0, 0, 0)),
        )
        for i, (row, column) in enumerate(_SHIFTS)
    )
    return sum(shifted, jnp.zeros((), x.dtype)).reshape(-1, g)


def _convolution_gradient(
    x: Float[Array, "m k"],
    kernel: Float[Array, "3 3 k g"],
    d_y: Float[Array, "m g"],
    shape: tuple[int, int, int],
) -> tuple[Float[Array, "m k"], Float[Array, "3 3 k g"]]:
    """Returns the gradients of input and kernel."""
    (_, h, w), (k, g) = shape, kernel.shape[2:]
    padded = jnp.pad(d_y.reshape(*shape, g), ((0, 0), (1, 1), (1, 1), (0, 0)))
    columns = jnp.concatenate(
        [
            padded[:, 2 - row : 2 - row + h, 2 - column : 2 - column + w]
            for row, column in _SHIFTS
        ],
        axis=-1,
    ).reshape(-1, 9 * g)
    d_x = columns @ kernel.transpose(0, 1, 3, 2).reshape(9 * g, k)
    d_kernel = jnp.einsum("mk,mn->kn", x, columns)
    return d_x, d_kernel.reshape(k, 3, 3, g).transpose(1, 2, 0, 3)
