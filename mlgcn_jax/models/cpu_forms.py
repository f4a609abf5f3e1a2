"""Forms of layers that are fast on a CPU; `dense_block` has that of a whole block."""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def max_pool_3x3_stride_2(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """Returns the maximum over 3x3 windows, stride 2, padding 1.

    Along the rows first, then along the columns: forward and gradient take a fifth of
    the time of those of nine strided slices. Of equal ones the first gets the gradient.
    """
    return _max_pool_3_stride_2(_max_pool_3_stride_2(x, 2), 1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _max_pool_3_stride_2(
    x: Float[Array, "b h w c"], axis: int
) -> Float[Array, "b h2 w2 c"]:
    before, even, odd = _windows(x, axis)
    return jnp.maximum(jnp.maximum(before, even), odd)


def _max_pool_forward(
    x: Float[Array, "b h w c"], axis: int
) -> tuple[Float[Array, "b h2 w2 c"], Float[Array, "b h w c"]]:
    return _max_pool_3_stride_2(x, axis), x


def _max_pool_backward(
    axis: int, x: Float[Array, "b h w c"], d_y: Float[Array, "b h2 w2 c"]
) -> tuple[Float[Array, "b h w c"]]:
    before, even, odd = _windows(x, axis)
    is_before = before >= jnp.maximum(even, odd)
    is_even = ~is_before & (even >= odd)
    d_before = jnp.where(is_before, d_y, 0.0)
    d_even = jnp.where(is_even, d_y, 0.0)
    d_odd = jnp.where(is_before | is_even, 0.0, d_y) + _shift(d_before, axis, -1, 0.0)
    d_x = jnp.stack([d_even, d_odd], axis + 1)
    d_x = d_x.reshape(*x.shape[:axis], 2 * d_y.shape[axis], *x.shape[axis + 1 :])
    return (lax.slice_in_dim(d_x, 0, x.shape[axis], axis=axis),)


_max_pool_3_stride_2.defvjp(_max_pool_forward, _max_pool_backward)


def _windows(x: Float[Array, "b h w c"], axis: int) -> tuple[Array, Array, Array]:
    """Returns what windows of three, stride 2, padding 1, hold along an axis."""
    lowest = float(jnp.finfo(x.dtype).min)
    odd_size = [(0, 0)] * x.ndim
    odd_size[axis] = (0, x.shape[axis] % 2)
    x = jnp.pad(x, odd_size, constant_values=lowest)
    half = x.shape[axis] // 2  # not -1 below: a map may be empty
    pairs = x.reshape(*x.shape[:axis], half, 2, *x.shape[axis + 1 :])
    even = lax.index_in_dim(pairs, 0, axis + 1, keepdims=False)
    odd = lax.index_in_dim(pairs, 1, axis + 1, keepdims=False)
    return _shift(odd, axis, 1, lowest), even, odd


def _shift(
    x: Float[Array, "b h w c"], axis: int, by: int, fill: float
) -> Float[Array, "b h w c"]:
    padding = [(0, 0, 0)] * x.ndim
    padding[axis] = (by, -by, 0)
    return lax.pad(x, jnp.asarray(fill, x.dtype), padding)


@jax.custom_vjp
def depthwise_convolution(
    x: Float[Array, "b h w c"], kernel: Float[Array, "k k 1 c"]
) -> Float[Array, "b h w c"]:
    """Returns the convolution of each channel by itself, zero padding of (k - 1) / 2.

    XLA's own takes 2.8 times as long on two cores, in one run of both that were not
    quiet (2 maps of 56 x 56 x 96, k = 7: 112 and 40 ms), and its gradient more so.
    """
    return _depthwise(x, kernel)


def _depthwise(
    x: Float[Array, "b h w c"], kernel: Float[Array, "k k 1 c"]
) -> Float[Array, "b h w c"]:
    height, width = x.shape[1:3]
    size = kernel.shape[0]
    padded = _padded(x, size)

    def add_row(i: Array, total: Array) -> Array:  # a loop: XLA compiles a seventh
        rows = lax.dynamic_slice_in_dim(padded, i, height, axis=1)
        factors = lax.dynamic_index_in_dim(kernel, i, keepdims=False)  # [k, 1, c]
        for j in range(size):
            factor = factors[j].astype(jnp.float32)[None, None]
            total += rows[:, :, j : j + width] * factor
        return total

    none = jnp.zeros(x.shape, jnp.float32)
    return lax.fori_loop(0, size, add_row, none).astype(x.dtype)


def _depthwise_forward(
    x: Float[Array, "b h w c"], kernel: Float[Array, "k k 1 c"]
) -> tuple[Float[Array, "b h w c"], tuple[Array, Array]]:
    return _depthwise(x, kernel), (x, kernel)


def _depthwise_backward(
    given: tuple[Array, Array], d_y: Float[Array, "b h w c"]
) -> tuple[Float[Array, "b h w c"], Float[Array, "k k 1 c"]]:
    x, kernel = given
    height, width = x.shape[1:3]
    size = kernel.shape[0]
    padded, d_y32 = _padded(x, size), d_y.astype(jnp.float32)

    def add_row(total: Array, y: Array) -> tuple[Array, None]:
        # Of each image by itself: devices that share the batch sum up once, at the end.
        rows = lax.dynamic_slice_in_dim(padded, y, size, axis=1)  # [b, k, w + k - 1, c]
        d_row = lax.dynamic_slice_in_dim(d_y32, y, 1, axis=1)  # [b, 1, w, c]
        columns = [(rows[:, :, j : j + width] * d_row).sum(2) for j in range(size)]
        return total + jnp.stack(columns, axis=2), None

    none = jnp.zeros((len(x), size, size, x.shape[-1]), jnp.float32)
    per_image, _ = lax.scan(add_row, none, jnp.arange(height))
    d_kernel = per_image.sum(0)[:, :, None]  # [k, k, 1, c]
    return _depthwise(d_y, kernel[::-1, ::-1]), d_kernel.astype(kernel.dtype)


depthwise_convolution.defvjp(_depthwise_forward, _depthwise_backward)


def _padded(x: Float[Array, "b h w c"], kernel_size: int) -> Float[Array, "b _ _ c"]:
    around = (kernel_size // 2, kernel_size // 2)
    return jnp.pad(x.astype(jnp.float32), ((0, 0), around, around, (0, 0)))
