"""The layers that ConvNeXt and ViT are made of, and how they drop at random.

Parameters are float32. Products are computed in a layer's `dtype` and summed up in
float32; norms and softmax are float32 throughout. Kernels start from a normal
distribution of deviation 0.02, cut off at two deviations, and biases from zero.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from mlgcn_jax.models import cpu_forms, forms

LAYER_NORM_EPSILON = 1e-6

initial_kernel = nnx.initializers.truncated_normal(0.02)


class Norm(NamedTuple):
    """A layer norm as a pytree: what pooled features may need before a classifier."""

    scale: Float[Array, " d"]
    bias: Float[Array, " d"]

    def __call__(self, x: Float[Array, "... d"]) -> Float[Array, "... d"]:
        """Returns x normalised over its last axis, scaled and shifted, float32.

        The variance is the mean square distance from the mean: E[x^2] - E[x]^2 loses
        its digits where the mean is far from zero.
        """
        x = x.astype(jnp.float32)
        x = x - x.mean(-1, keepdims=True)
        x = x * lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + LAYER_NORM_EPSILON)
        return x * along_last(self.scale, x) + along_last(self.bias, x)


class LayerNorm(nnx.Module):
    """Layer normalisation (Ba et al., arXiv:1607.06450) of each position's channels."""

    def __init__(self, num_features: int, *, dtype: DTypeLike):
        """Creates scale and bias, each `[num_features]`."""
        self.scale = nnx.Param(jnp.ones(num_features))
        self.bias = nnx.Param(jnp.zeros(num_features))
        self.dtype = dtype

    def __call__(self, x: Float[Array, "... c"]) -> Float[Array, "... c"]:
        """Returns x normalised over its last axis, scaled and shifted, in `dtype`."""
        return self.as_norm()(x).astype(self.dtype)

    def as_norm(self) -> Norm:
        """Returns the norm by itself, for those who hand it on."""
        return Norm(self.scale[...], self.bias[...])


class Linear(nnx.Module):
    """A linear layer with bias, over the last axis."""

    def __init__(
        self, in_features: int, out_features: int, *, dtype: DTypeLike, rngs: nnx.Rngs
    ):
        """Creates the kernel `[in_features, out_features]` and the bias."""
        shape = (in_features, out_features)
        self.kernel = nnx.Param(initial_kernel(rngs.params(), shape))
        self.bias = nnx.Param(jnp.zeros(out_features))
        self.dtype = dtype

    def __call__(self, x: Float[Array, "... c"]) -> Float[Array, "... c2"]:
        """Returns `x W + b` in `dtype`."""
        y = jnp.einsum(
            "...c,cd->...d",
            x.astype(self.dtype),
            self.kernel[...].astype(self.dtype),
            preferred_element_type=jnp.float32,
        )
        return (y + along_last(self.bias[...], y)).astype(self.dtype)


class PatchConvolution(nnx.Module):
    """A convolution with bias over patches that lie side by side."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        patch_size: int,
        *,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        """Creates the kernel `[p, p, in_features, out_features]` and the bias."""
        shape = (patch_size, patch_size, in_features, out_features)
        self.kernel = nnx.Param(initial_kernel(rngs.params(), shape))
        self.bias = nnx.Param(jnp.zeros(out_features))
        self.patch_size = patch_size
        self.dtype = dtype

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c2"]:
        """Returns a position per patch, `floor(h / p)`, in `dtype`.

        What is left over at the right and the bottom is not seen.
        """
        p = self.patch_size
        b, height, width, c = x.shape
        height, width = height // p, width // p
        x = x[:, : height * p, : width * p].astype(self.dtype)
        x = x.reshape(b, height, p, width, p, c)  # [b, h/p, p, w/p, p, c]
        y = jnp.einsum(
            "bhpwqc,pqcd->bhwd",
            x,
            self.kernel[...].astype(self.dtype),
            preferred_element_type=jnp.float32,
        )
        return (y + along_last(self.bias[...], y)).astype(self.dtype)


class DepthwiseConvolution(nnx.Module):
    """A convolution with bias of each channel by itself, symmetric zero padding."""

    def __init__(
        self,
        num_features: int,
        kernel_size: int,
        *,
        dtype: DTypeLike,
        form: forms.Form = "plain",
        rngs: nnx.Rngs,
    ):
        """Creates the kernel `[k, k, 1, num_features]`, k odd, and the bias."""
        shape = (kernel_size, kernel_size, 1, num_features)
        self.kernel = nnx.Param(initial_kernel(rngs.params(), shape))
        self.bias = nnx.Param(jnp.zeros(num_features))
        self.dtype = dtype
        self.form: forms.Form = form

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Returns the convolved map, of the same size, in `dtype`."""
        kernel = self.kernel[...].astype(self.dtype)
        y = depthwise(x.astype(self.dtype), kernel, form=self.form)
        y = y.astype(jnp.float32)
        return (y + along_last(self.bias[...], y)).astype(self.dtype)


class MLP(nnx.Module):
    """Linear `fc1`, GELU (Hendrycks and Gimpel, arXiv:1606.08415), linear `fc2`."""

    def __init__(
        self,
        num_features: int,
        hidden_features: int,
        *,
        approximate_gelu: bool,
        dropout_rate: float = 0.0,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        """Creates the two layers.

        Args:
            num_features: c, width of what comes in and goes out.
            hidden_features: width between the layers.
            approximate_gelu: the tanh form, which Flax's models are trained with.
            dropout_rate: share that is dropped behind each layer.
            dtype: compute type.
            rngs: source of the initial parameters.
        """
        self.fc1 = Linear(num_features, hidden_features, dtype=dtype, rngs=rngs)
        self.fc2 = Linear(hidden_features, num_features, dtype=dtype, rngs=rngs)
        self.approximate_gelu = approximate_gelu
        self.dropout_rate = dropout_rate

    def __call__(
        self, x: Float[Array, "... c"], key: Key[Array, ""] | None
    ) -> Float[Array, "... c"]:
        """Returns the output in `dtype`; with a key some of it is dropped."""
        first, second = split(key, 2)
        x = jax.nn.gelu(self.fc1(x), approximate=self.approximate_gelu)
        x = dropout(x, rate=self.dropout_rate, key=first)
        return dropout(self.fc2(x), rate=self.dropout_rate, key=second)


def drop_path(
    x: Float[Array, "b ..."], *, rate: float, key: Key[Array, ""] | None
) -> Float[Array, "b ..."]:
    """Returns x without that of some images (stochastic depth, arXiv:1603.09382).

    What is kept is divided by its share, so that the expectation stays. Differs from
    the paper, which multiplies by the share in inference instead, as timm does.

    Args:
        x: output of a block's branch.
        rate: share of the images that lose it, below 1.
        key: source of randomness; None: nothing is dropped.
    """
    return _drop(x, (len(x), *[1] * (x.ndim - 1)), rate=rate, key=key)


def dropout(
    x: Float[Array, "..."], *, rate: float, key: Key[Array, ""] | None
) -> Float[Array, "..."]:
    """Returns x with some of its values 0, the others divided by their share."""
    return _drop(x, x.shape, rate=rate, key=key)


def drop_path_rates(last: float, num_blocks: int) -> list[float]:
    """Returns the rate of each block, from 0 at the first up to that of the last."""
    return [last * i / max(num_blocks - 1, 1) for i in range(num_blocks)]


def split(key: Key[Array, ""] | None, num: int) -> list[Key[Array, ""] | None]:
    """Returns keys from one, or so many None where there is none."""
    return [None] * num if key is None else list(jax.random.split(key, num))


def along_last(values: Float[Array, " c"], x: Float[Array, "..."]) -> Array:
    """Returns values in a shape that meets the last axis of x."""
    return values.reshape(*[1] * (x.ndim - 1), -1)


def depthwise(
    x: Float[Array, "b h w c"],
    kernel: Float[Array, "k k 1 c"],
    *,
    form: forms.Form = "plain",
) -> Float[Array, "b h w c"]:
    """Returns each channel's convolution by itself, zero padding of (k - 1) / 2."""
    if form == "cpu":
        return cpu_forms.depthwise_convolution(x, kernel)
    padding = (kernel.shape[0] // 2, kernel.shape[0] // 2)
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(1, 1),
        padding=(padding, padding),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def _drop(
    x: Array, shape: tuple[int, ...], *, rate: float, key: Key[Array, ""] | None
) -> Array:
    if key is None or rate == 0:
        return x
    is_kept = jax.random.bernoulli(key, 1 - rate, shape)
    return jnp.where(is_kept, x / (1 - rate), 0).astype(x.dtype)
