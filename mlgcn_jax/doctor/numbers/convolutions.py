"""Convolutions forward and backward, in float32 and bfloat16."""

import functools

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from mlgcn_jax.doctor.numbers import block
from mlgcn_jax.models import forms, layers

# dtype -> rounding of its products.
_TYPES: dict[type, block.Rounding] = {
    np.float32: "product",
    ml_dtypes.bfloat16: "bfloat16",
}
_SIZES = ((3, 1), (3, 2), (1, 1))  # (kernel, stride) of a dense or bottleneck block


def blocks() -> list[block.Block]:
    """Returns each convolution with both of its gradients."""
    return [convolution(k, s, dtype) for dtype in _TYPES for k, s in _SIZES]


def convolution(kernel_size: int, stride: int, dtype: type) -> block.Block:
    """Returns a convolution of two pictures of 10 x 10 with 16 channels."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 10, 10, 16)).astype(dtype)
    kernel = rng.standard_normal((kernel_size, kernel_size, 16, 24)).astype(dtype)
    side = 10 // stride
    d_y = rng.standard_normal((2, side, side, 24)).astype(dtype)
    wide = [a.astype(np.float64) for a in (x, kernel, d_y)]
    name = f"convolution {kernel_size}x{kernel_size}"
    name += f" stride {stride}" * (stride > 1)
    return block.Block(
        f"{name}, {np.dtype(dtype).name}",
        functools.partial(_forward_and_backward, stride=stride),
        (x, kernel, d_y),
        _by_taps(wide[0], wide[1], wide[2], stride=stride),
        _TYPES[dtype],
    )


def _forward_and_backward(
    x: jax.Array, kernel: jax.Array, d_y: jax.Array, *, stride: int
) -> tuple[jax.Array, ...]:
    form = forms.here()
    convolve = functools.partial(layers.convolve, stride=stride, form=form)
    y, pull_back = jax.vjp(convolve, x, kernel)
    return tuple(a.astype(jnp.float32) for a in (y, *pull_back(d_y)))


def _by_taps(
    x: np.ndarray, kernel: np.ndarray, d_y: np.ndarray, *, stride: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same as sums over the kernel's entries, each a product of matrices."""
    size, around = len(kernel), len(kernel) // 2
    padded = np.pad(x, ((0, 0), (around, around), (around, around), (0, 0)))
    height, width = x.shape[1:3]
    y, d_padded, d_kernel = (np.zeros_like(a) for a in (d_y, padded, kernel))
    for row, column in np.ndindex(size, size):
        seen = np.s_[:, row : row + height : stride, column : column + width : stride]
        y += np.einsum("bhwc,cd->bhwd", padded[seen], kernel[row, column])
        d_padded[seen] += np.einsum("bhwd,cd->bhwc", d_y, kernel[row, column])
        d_kernel[row, column] = np.einsum("bhwc,bhwd->cd", padded[seen], d_y)
    inside = np.s_[:, around : around + height, around : around + width]
    return y, d_padded[inside], d_kernel
