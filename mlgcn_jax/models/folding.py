"""Convolutions and norms in the form in which they only infer.

A trained norm is a fixed scale and offset. Behind a convolution it goes into the
convolution's kernel and a bias; before one (DenseNet's first norm of a layer) it stays,
computed once.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlgcn_jax.models import layers


class Norm(NamedTuple):
    """A norm in evaluation: `x * scale + offset`, float32."""

    scale: Float[Array, " c"]
    offset: Float[Array, " c"]


class Convolution(NamedTuple):
    """A kernel in the compute type and the float32 bias that a norm left."""

    kernel: Float[Array, "k k c c2"]
    bias: Float[Array, " c2"]


def fold_norm(norm: layers.BatchNorm) -> Norm:
    """Returns the norm with its running statistics."""
    running = layers.Statistics(norm.mean[...], norm.var[...])
    return Norm(*layers.scale_and_offset(norm.scale[...], norm.bias[...], running))


def fold_convolution(conv: layers.Convolution, norm: layers.BatchNorm) -> Convolution:
    """Returns the convolution that does the work of the norm behind it as well."""
    scale, offset = fold_norm(norm)
    kernel = conv.kernel[...] * scale[None, None, None, :]
    return Convolution(kernel.astype(conv.dtype), offset)


def kernel_of(conv: layers.Convolution) -> Float[Array, "k k c c2"]:
    """Returns the kernel in the compute type."""
    return conv.kernel[...].astype(conv.dtype)


def normalize(norm: Norm, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Returns norm and ReLU of x, in its type."""
    scale, offset = (values[None, None, None, :] for values in norm)
    return jax.nn.relu(x.astype(jnp.float32) * scale + offset).astype(x.dtype)


def convolve(
    conv: Convolution, x: Float[Array, "b h w c"], *, stride: int = 1
) -> Float[Array, "b h2 w2 c2"]:
    """Returns convolution plus bias, in the kernel's type.

    In the plain form: without a gradient, and by XLA's own kernels, a product is no
    faster on a CPU (docs/performance.md).
    """
    y = layers.convolve(x, conv.kernel, stride=stride)
    return (y.astype(jnp.float32) + conv.bias[None, None, None, :]).astype(y.dtype)
