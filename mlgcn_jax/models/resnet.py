"""ResNet (He et al., CVPR 2016, arXiv:1512.03385): image -> feature map.

Submodules carry torchvision's names, numbers included (`layer1.0.downsample.1`, ...).
"""

from collections.abc import Sequence

import jax
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from mlgcn_jax.models import contract, forms, layers

EXPANSION = 4  # features that a block gives, in widths


class Downsample(nnx.Module):
    """1x1 convolution `0` and BN `1`: a block's input in the shape of its output."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        stride: int,
        dtype: DTypeLike,
        form: forms.Form,
        rngs: nnx.Rngs,
    ):
        """Creates the convolution and the norm."""
        conv = layers.Convolution(
            in_features,
            out_features,
            1,
            stride=stride,
            dtype=dtype,
            form=form,
            rngs=rngs,
        )
        setattr(self, "0", conv)
        setattr(self, "1", layers.BatchNorm(out_features, dtype=dtype, form=form))

    def __call__(
        self, x: Float[Array, "b h w c"], *, train: bool
    ) -> Float[Array, "b h2 w2 c2"]:
        """Returns the projected map, spatial size ceil(h / stride)."""
        conv: layers.Convolution = getattr(self, "0")
        norm: layers.BatchNorm = getattr(self, "1")
        return norm(conv(x), train=train)


class Bottleneck(nnx.Module):
    """1x1, 3x3 and 1x1 convolution, each with BN, beside a shortcut.

    Differs from the paper, as torchvision does ("v1.5"): a block that halves the map
    does so in its 3x3 convolution and not in the first one.
    """

    def __init__(
        self,
        in_features: int,
        width: int,
        *,
        stride: int,
        dtype: DTypeLike,
        form: forms.Form,
        rngs: nnx.Rngs,
    ):
        """Creates the block; the shortcut has parameters only where shapes differ."""
        out_features = EXPANSION * width
        self.conv1 = layers.Convolution(
            in_features, width, 1, dtype=dtype, form=form, rngs=rngs
        )
        self.bn1 = layers.BatchNorm(width, dtype=dtype, form=form)
        self.conv2 = layers.Convolution(
            width, width, 3, stride=stride, dtype=dtype, form=form, rngs=rngs
        )
        self.bn2 = layers.BatchNorm(width, dtype=dtype, form=form)
        self.conv3 = layers.Convolution(
            width, out_features, 1, dtype=dtype, form=form, rngs=rngs
        )
        self.bn3 = layers.BatchNorm(out_features, dtype=dtype, form=form)
        if stride == 1 and in_features == out_features:
            self.downsample = None
        else:
            self.downsample = Downsample(
                in_features,
                out_features,
                stride=stride,
                dtype=dtype,
                form=form,
                rngs=rngs,
            )

    def __call__(
        self, x: Float[Array, "b h w c"], *, train: bool
    ) -> Float[Array, "b h2 w2 c2"]:
        """Returns the block's output, after its last ReLU."""
        shortcut = x if self.downsample is None else self.downsample(x, train=train)
        x = self.bn1.relu([self.conv1(x)], train=train)
        x = self.bn2.relu([self.conv2(x)], train=train)
        return jax.nn.relu(self.bn3(self.conv3(x), train=train) + shortcut)


class Layer(nnx.Module):
    """Blocks `0`, `1`, ... of one width; the first may halve the map."""

    def __init__(
        self,
        in_features: int,
        width: int,
        num_blocks: int,
        *,
        stride: int,
        remat: bool,
        dtype: DTypeLike,
        form: forms.Form,
        rngs: nnx.Rngs,
    ):
        """Creates the blocks."""
        self.num_blocks = num_blocks
        self.remat = remat
        for i in range(num_blocks):
            block = Bottleneck(
                in_features if i == 0 else EXPANSION * width,
                width,
                stride=stride if i == 0 else 1,
                dtype=dtype,
                form=form,
                rngs=rngs,
            )
            setattr(self, str(i), block)

    def __call__(
        self, x: Float[Array, "b h w c"], *, train: bool
    ) -> Float[Array, "b h2 w2 c2"]:
        """Returns the last block's output."""

        def run(block: Bottleneck, x: Float[Array, "b h w c"]) -> Array:
            return block(x, train=train)

        if train and self.remat:
            run = layers.compute_again(run)
        for i in range(self.num_blocks):
            x = run(getattr(self, str(i)), x)
        return x


class ResNet(nnx.Module):
    """ResNet of bottleneck blocks without its classifier; the defaults are ResNet-50.

    Differs from torchvision in the first kernels: He normal over the fan-in, as for
    every backbone here, where torchvision's ResNet takes the fan-out.
    """

    norm_after_pooling = None

    def __init__(
        self,
        *,
        block_sizes: Sequence[int] = (3, 4, 6, 3),
        num_init_features: int = 64,
        remat: bool = False,
        dtype: DTypeLike,
        form: forms.Form = "plain",
        rngs: nnx.Rngs,
    ):
        """Creates the network.

        Args:
            block_sizes: number of bottleneck blocks in each layer.
            num_init_features: features of the stem and width of the first layer; the
                width doubles from layer to layer.
            remat: keep of a block what it is given, and compute it again for the
                gradient.
            dtype: compute type; parameters and statistics are float32.
            form: of the layers.
            rngs: source of the initial parameters.
        """
        self.num_layers = len(block_sizes)
        self.form: forms.Form = form
        self.conv1 = layers.Convolution(
            3, num_init_features, 7, stride=2, dtype=dtype, form=form, rngs=rngs
        )
        self.bn1 = layers.BatchNorm(num_init_features, dtype=dtype, form=form)
        num_features = num_init_features
        for i, num_blocks in enumerate(block_sizes):
            width = num_init_features * 2**i
            layer = Layer(
                num_features,
                width,
                num_blocks,
                stride=1 if i == 0 else 2,
                remat=remat,
                dtype=dtype,
                form=form,
                rngs=rngs,
            )
            setattr(self, f"layer{i + 1}", layer)
            num_features = EXPANSION * width
        self.num_features = num_features
        self.tap_names = tuple(f"layer{i}" for i in range(1, self.num_layers + 1))
        self.min_image_size_px = 1  # every halving rounds up

    def __call__(
        self,
        image: Float[Array, "b h w 3"],
        *,
        train: bool,
        key: Key[Array, ""] | None = None,
    ) -> contract.ImageFeatures:
        """Returns the feature map `[b, ceil(h / 32), ceil(w / 32), d]` in `dtype`."""
        del key  # nothing in it is random
        taps = {}
        x = self.bn1.relu([self.conv1(image)], train=train)
        x = layers.max_pool_3x3_stride_2(x, form=self.form)
        for i in range(1, self.num_layers + 1):
            layer: Layer = getattr(self, f"layer{i}")
            x = taps[f"layer{i}"] = layer(x, train=train)
        return contract.ImageFeatures(x, taps)
