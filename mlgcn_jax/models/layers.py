"""The layers that the backbones are made of, plain and in the forms that are fast.

Flax has layers of the same meaning. These exist because DenseNet needs what those do
not offer: batch statistics that several layers share, a variance that keeps its
precision, PyTorch's unbiased running variance, and forms that are quick on a CPU.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from mlgcn_jax.models import cpu_forms, forms, gpu_forms

BATCH_NORM_EPSILON = 1e-5
BATCH_NORM_MOMENTUM = 0.9  # what is kept of the old value; PyTorch calls this 0.1
_KEPT = "batch statistics"


class Convolution(nnx.Module):
    """2-D convolution without bias, NHWC, kernel HWIO, symmetric zero padding.

    Kernels start from the He normal distribution over the fan-in, as torchvision's
    DenseNet does. Products are computed in `dtype`, parameters are float32.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int,
        *,
        stride: int = 1,
        dtype: DTypeLike,
        form: forms.Form = "plain",
        rngs: nnx.Rngs,
    ):
        """Creates the kernel `[k, k, in_features, out_features]`."""
        shape = (kernel_size, kernel_size, in_features, out_features)
        self.kernel = nnx.Param(nnx.initializers.he_normal()(rngs.params(), shape))
        self.stride = stride
        self.dtype = dtype
        self.form: forms.Form = form

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c2"]:
        """Returns the convolved map; spatial size ceil(h / stride) for odd kernels."""
        kernel = self.kernel[...].astype(self.dtype)
        return convolve(x, kernel, stride=self.stride, form=self.form)


def convolve(
    x: Float[Array, "b h w c"],
    kernel: Float[Array, "k k c c2"],
    *,
    stride: int = 1,
    form: forms.Form = "plain",
) -> Float[Array, "b h2 w2 c2"]:
    """Returns the convolution in the kernel's type, zero padding of (k - 1) / 2."""
    x = x.astype(kernel.dtype)
    kernel_size = kernel.shape[0]
    if kernel_size == 1 and form == "cpu":
        # A plain matrix product takes about 0.6 of the time of lax.conv on a CPU,
        # but moves half as many bytes again on a GPU.
        x = x[:, ::stride, ::stride]
        # Summed in float32: jaxlib 0.12.0 sums a bfloat16 kernel's gradient in
        # bfloat16, 2 to 4 % off.
        y = jnp.einsum(
            "bhwc,cd->bhwd", x, kernel[0, 0], preferred_element_type=jnp.float32
        )
        return y.astype(kernel.dtype)
    padding = (kernel_size // 2, kernel_size // 2)
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=(padding, padding),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


class Statistics(NamedTuple):
    """Mean and biased variance of each channel over a batch, float32."""

    mean: Float[Array, " c"]
    var: Float[Array, " c"]


def batch_statistics(x: Float[Array, "b h w c"]) -> Statistics:
    """Returns the statistics of each channel over the (global) batch, in float32.

    The variance is the mean square distance from the mean: the one-pass form
    E[x^2] - E[x]^2 loses its digits where the mean is far from zero. It serves for
    bfloat16, whose values have lost more by then (their rounding is 2^-9, that of the
    sums 2^-24), and reads them once. With the batch sharded over devices XLA adds the
    all-reduce: statistics are global.
    """
    one_pass = x.dtype == jnp.bfloat16
    x = x.astype(jnp.float32)
    mean = _kept(x.mean((0, 1, 2), keepdims=True))
    if one_pass:
        mean = mean.reshape(-1)
        square = _kept(jnp.square(x).mean((0, 1, 2)))
        return Statistics(mean, jnp.maximum(square - jnp.square(mean), 0.0))
    return Statistics(mean.reshape(-1), _kept(jnp.square(x - mean).mean((0, 1, 2))))


def compute_again(call: Callable) -> Callable:
    """Returns `call(module, *arrays)` with less kept for its gradient.

    That is what it was given. The rest is computed a second time, but for batch
    statistics, which are small and would be summed over all devices again.
    """
    return nnx.remat(call, policy=jax.checkpoint_policies.save_only_these_names(_KEPT))


def _kept(x: Float[Array, "..."]) -> Float[Array, "..."]:
    return checkpoint_name(x, _KEPT)


def scale_and_offset(
    scale: Float[Array, " c"], bias: Float[Array, " c"], statistics: Statistics
) -> tuple[Float[Array, " c"], Float[Array, " c"]]:
    """Returns what a norm multiplies by and then adds, for each channel."""
    scale = scale * lax.rsqrt(statistics.var + BATCH_NORM_EPSILON)
    return scale, bias - statistics.mean * scale


def concatenate_statistics(statistics: list[Statistics]) -> Statistics:
    """Returns the statistics of channels that are concatenated in the same order."""
    return Statistics(
        *(jnp.concatenate(part) for part in zip(*statistics, strict=True))
    )


class BatchNorm(nnx.Module):
    """Batch normalisation (Ioffe and Szegedy, arXiv:1502.03167) in float32.

    Running statistics follow PyTorch: momentum 0.1 in its words, unbiased variance.
    Differs from `flax.nnx.BatchNorm`, which keeps the biased variance and rounds to
    `dtype` on the way.
    """

    def __init__(
        self, num_features: int, *, dtype: DTypeLike, form: forms.Form = "plain"
    ):
        """Creates scale and bias, running mean and variance, each `[num_features]`."""
        self.scale = nnx.Param(jnp.ones(num_features))
        self.bias = nnx.Param(jnp.zeros(num_features))
        self.mean = nnx.BatchStat(jnp.zeros(num_features))
        self.var = nnx.BatchStat(jnp.ones(num_features))
        self.dtype = dtype
        self.form: forms.Form = form

    def __call__(
        self,
        x: Float[Array, "b h w c"],
        *,
        train: bool,
        statistics: Statistics | None = None,
    ) -> Float[Array, "b h w c"]:
        """Returns x normalised, scaled and shifted, in `dtype`.

        Args:
            x: feature map.
            train: normalise by batch statistics and update the running ones;
                otherwise normalise by the running ones.
            statistics: `batch_statistics(x)` where the caller has them already.
        """
        if train:
            statistics = statistics or batch_statistics(x)
            self.update_running(statistics, count=x.size // x.shape[-1])
        else:
            statistics = Statistics(self.mean[...], self.var[...])
        scale, offset = scale_and_offset(self.scale[...], self.bias[...], statistics)
        x = x.astype(jnp.float32)
        return (x * _per_channel(scale) + _per_channel(offset)).astype(self.dtype)

    def relu(
        self,
        maps: Sequence[Float[Array, "b h w _"]],
        *,
        train: bool,
        statistics: Statistics | None = None,
    ) -> Float[Array, "b h w c"]:
        """Returns the ReLU of the norm of maps side by side, in `dtype`.

        Args:
            maps: feature maps of this `dtype`; together they have all channels.
            train: as in a call.
            statistics: of all channels; may be left out for a single map.
        """
        if not train or self.form != "gpu":
            x = jnp.concatenate(maps, axis=-1)
            return jax.nn.relu(self(x, train=train, statistics=statistics))
        if statistics is None:
            (x,) = maps
            statistics = batch_statistics(x)
        self.update_running(statistics, count=maps[0].size // maps[0].shape[-1])
        scale, offset = scale_and_offset(self.scale[...], self.bias[...], statistics)
        return gpu_forms.norm_relu(tuple(maps), scale, offset)

    def update_running(self, statistics: Statistics, *, count: int) -> None:
        """Moves the running statistics towards those of a batch of `count` values."""
        keep = BATCH_NORM_MOMENTUM
        mean, var = lax.stop_gradient(statistics)
        unbiased_var = var * (count / max(count - 1, 1))
        # Not `self.mean[...] = `: under jit that takes 30 ms of tracing each.
        self.mean.set_value(keep * self.mean[...] + (1 - keep) * mean)
        self.var.set_value(keep * self.var[...] + (1 - keep) * unbiased_var)


def _per_channel(values: Float[Array, " c"]) -> Float[Array, "1 1 1 c"]:
    return values[None, None, None, :]


def max_pool_3x3_stride_2(
    x: Float[Array, "b h w c"], *, form: forms.Form = "plain"
) -> Float[Array, "b h2 w2 c"]:
    """Returns the maximum over 3x3 windows, stride 2, padding 1.

    Of equal ones the first gets the gradient, as in PyTorch. The gradient of
    `lax.reduce_window` scatters, which is slow on CPUs, and on GPUs moves twice the
    bytes of the form there; on a TPU it moves a fourth of those of slices.
    """
    if form == "cpu":
        return cpu_forms.max_pool_3x3_stride_2(x)
    if form == "gpu":
        return gpu_forms.max_pool_3x3_stride_2(x)
    around = ((0, 0), (1, 1), (1, 1), (0, 0))
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), around)


def average_pool_2x2(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """Returns the mean over 2x2 windows, stride 2; leaves an odd last row or column."""
    b, height, width, c = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    x = x.reshape(b, height // 2, 2, width // 2, 2, c)  # [b, h/2, 2, w/2, 2, c]
    return x.mean((2, 4), dtype=jnp.float32).astype(x.dtype)
