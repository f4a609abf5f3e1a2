"""Forms of layers that move few bytes through the memory of a GPU.

What XLA keeps there between forward and backward pass, and what it reads twice, decides
the time of a step. `layers` has the same functions written plainly, for CPUs and TPUs
(whose compiler fuses norms into convolutions, and moves more bytes with these forms).
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, UInt8

_WINDOW = [(row, column) for row in range(3) for column in range(3)]


@jax.custom_vjp
def norm_relu(
    maps: tuple[Float[Array, "b h w _"], ...],
    scale: Float[Array, " c"],
    offset: Float[Array, " c"],
) -> Float[Array, "b h w c"]:
    """Returns `max(0, scale x + offset)`, x being maps side by side, in their type.

    The maps are never concatenated as they are, and where the ReLU is zero is not kept:
    the gradient finds it again from the maps. It hands each map a gradient of its own,
    which XLA adds up with those of the other readers in one pass.
    """
    return jnp.concatenate(
        [
            jax.nn.relu(_affine(x, *part)).astype(x.dtype)
            for x, *part in zip(maps, *_split(maps, scale, offset), strict=True)
        ],
        axis=-1,
    )


def _norm_relu_backward(
    saved: tuple[tuple[Array, ...], Array, Array], d_y: Float[Array, "b h w c"]
) -> tuple[tuple[Array, ...], Float[Array, " c"], Float[Array, " c"]]:
    maps, scale, offset = saved
    d_maps, start = [], 0
    scales, offsets = _split(maps, scale, offset)
    for x, its_scale, its_offset in zip(maps, scales, offsets, strict=True):
        its_d_y = d_y[..., start : start + x.shape[-1]]
        d_before = _through_relu(x, its_scale, its_offset, its_d_y)
        d_maps.append((d_before * _channels(its_scale)).astype(x.dtype))
        start += x.shape[-1]
    # Over all channels at once: one reduction, not one a map.
    x = jnp.concatenate(maps, axis=-1)
    d_before = _through_relu(x, scale, offset, d_y)
    d_scale = (d_before * x.astype(jnp.float32)).sum((0, 1, 2))
    return tuple(d_maps), d_scale, d_before.sum((0, 1, 2))


norm_relu.defvjp(
    lambda maps, scale, offset: (norm_relu(maps, scale, offset), (maps, scale, offset)),
    _norm_relu_backward,
)


def _affine(
    x: Float[Array, "b h w c"], scale: Float[Array, " c"], offset: Float[Array, " c"]
) -> Float[Array, "b h w c"]:
    return x.astype(jnp.float32) * _channels(scale) + _channels(offset)


def _through_relu(
    x: Float[Array, "b h w c"],
    scale: Float[Array, " c"],
    offset: Float[Array, " c"],
    d_y: Float[Array, "b h w c"],
) -> Float[Array, "b h w c"]:
    """The gradient before the ReLU, float32.

    Written so that XLA keeps no mask (a comparison as in the forward pass would be
    shared with it), and selects before it converts (a slice that is converted first
    is read whole).
    """
    is_on = x.astype(jnp.float32) * _channels(scale) > -_channels(offset)
    return jnp.where(is_on, d_y, jnp.zeros((), d_y.dtype)).astype(jnp.float32)


def _split(
    maps: tuple[Array, ...], *vectors: Float[Array, " c"]
) -> list[list[Float[Array, " _"]]]:
    """Each vector in parts, one a map."""
    sizes = [x.shape[-1] for x in maps]
    return [list(lax.split(vector, sizes)) for vector in vectors]


def _channels(values: Float[Array, " c"]) -> Float[Array, "1 1 1 c"]:
    return values[None, None, None, :]


@jax.custom_vjp
def max_pool_3x3_stride_2(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """Returns the maximum over 3x3 windows, stride 2, padding 1.

    A byte for each window says where its maximum lies, and is all that the gradient
    needs. The first of equal ones gets the gradient, as in PyTorch.
    """
    return _max_pool(x)[0]


def _max_pool(
    x: Float[Array, "b h w c"],
) -> tuple[Float[Array, "b h2 w2 c"], tuple[UInt8[Array, "b h2 w2 c"], Array]]:
    height, width = x.shape[1:3]
    lowest = jnp.finfo(x.dtype).min
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=lowest)
    windows = [
        padded[:, row : row + height : 2, column : column + width : 2]
        for row, column in _WINDOW
    ]
    largest, index = windows[0], jnp.zeros(windows[0].shape, jnp.uint8)
    for i, window in enumerate(windows[1:], start=1):
        index = jnp.where(window > largest, jnp.uint8(i), index)
        largest = jnp.maximum(largest, window)
    return largest, (index, jnp.empty((0, height, width), x.dtype))


def _max_pool_backward(
    saved: tuple[UInt8[Array, "b h2 w2 c"], Array], d_y: Float[Array, "b h2 w2 c"]
) -> tuple[Float[Array, "b h w c"]]:
    index, like = saved
    _, height, width = like.shape
    zero = jnp.zeros((), d_y.dtype)
    d_x = jnp.float32(0)
    for i, (row, column) in enumerate(_WINDOW):
        # Each window's gradient where its maximum lies: spread by two, then shifted.
        spread = lax.pad(
            jnp.where(index == i, d_y, zero),
            zero,
            ((0, 0, 0), (row - 1, 2 - row, 1), (column - 1, 2 - column, 1), (0, 0, 0)),
        )
        d_x += spread[:, :height, :width].astype(jnp.float32)
    return (d_x.astype(d_y.dtype),)


max_pool_3x3_stride_2.defvjp(_max_pool, _max_pool_backward)
