"""DenseNet (Huang et al., CVPR 2017, arXiv:1608.06993): image -> feature map.

Submodules carry torchvision's names (`features.denseblock1.denselayer1.norm1`, ...).
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from mlgcn_jax.models import contract, dense_block, forms, layers


class DenseLayer(nnx.Module):
    """BN, ReLU, 1x1 convolution, BN, ReLU, 3x3 convolution: `growth_rate` features."""

    def __init__(
        self,
        in_features: int,
        *,
        growth_rate: int,
        bottleneck_factor: int,
        dtype: DTypeLike,
        form: forms.Form,
        rngs: nnx.Rngs,
    ):
        """Creates the two norms and convolutions."""
        width = bottleneck_factor * growth_rate
        self.norm1 = layers.BatchNorm(in_features, dtype=dtype, form=form)
        self.conv1 = layers.Convolution(
            in_features, width, 1, dtype=dtype, form=form, rngs=rngs
        )
        self.norm2 = layers.BatchNorm(width, dtype=dtype, form=form)
        self.conv2 = layers.Convolution(
            width, growth_rate, 3, dtype=dtype, form=form, rngs=rngs
        )

    def __call__(
        self,
        maps: Sequence[Float[Array, "b h w _"]],
        *,
        train: bool,
        statistics: layers.Statistics | None,
    ) -> Float[Array, "b h w growth_rate"]:
        """Returns the layer's new features, from maps with all those before it."""
        x = self.conv1(self.norm1.relu(maps, train=train, statistics=statistics))
        return self.conv2(self.norm2.relu([x], train=train))


class DenseBlock(nnx.Module):
    """Layers that each read the features of all layers before them.

    A channel's batch statistics are the same in every layer that reads it, so they are
    computed once, where the channel is made.
    """

    def __init__(
        self,
        in_features: int,
        num_layers: int,
        *,
        growth_rate: int,
        bottleneck_factor: int,
        remat: bool = False,
        dtype: DTypeLike,
        form: forms.Form,
        rngs: nnx.Rngs,
    ):
        """Creates `denselayer1` to `denselayer{num_layers}`."""
        self.num_layers = num_layers
        self.remat = remat
        self.dtype = dtype
        self.form: forms.Form = form
        for i in range(num_layers):
            layer = DenseLayer(
                in_features + i * growth_rate,
                growth_rate=growth_rate,
                bottleneck_factor=bottleneck_factor,
                dtype=dtype,
                form=form,
                rngs=rngs,
            )
            setattr(self, f"denselayer{i + 1}", layer)

    def __call__(
        self, x: Float[Array, "b h w c"], *, train: bool
    ) -> tuple[list[Float[Array, "b h w _"]], layers.Statistics | None]:
        """Returns maps with all features, and in training their batch statistics."""
        if train and self._is_faster_as_products:
            features, known = self._train_as_products(x)
            return [features], known

        def run(
            layer: DenseLayer, maps: list, known: layers.Statistics | None
        ) -> Array:
            return layer(maps, train=train, statistics=known)

        if train and self.remat:
            run = layers.compute_again(run)
        maps = [x]
        statistics = [layers.batch_statistics(x)] if train else []
        for layer in self._layers:
            known = layers.concatenate_statistics(statistics) if train else None
            maps.append(run(layer, maps, known))
            if train:
                statistics.append(layers.batch_statistics(maps[-1]))
        return maps, layers.concatenate_statistics(statistics) if train else None

    @property
    def _layers(self) -> list[DenseLayer]:
        return [getattr(self, f"denselayer{i + 1}") for i in range(self.num_layers)]

    @property
    def _is_faster_as_products(self) -> bool:
        return self.form == "cpu" and self.dtype == jnp.float32

    def _train_as_products(
        self, x: Float[Array, "b h w c"]
    ) -> tuple[Float[Array, "b h w c2"], layers.Statistics]:
        params = [
            dense_block.LayerParams(
                *(layer.norm1.scale[...], layer.norm1.bias[...]),
                layer.conv1.kernel[...],
                *(layer.norm2.scale[...], layer.norm2.bias[...]),
                layer.conv2.kernel[...],
            )
            for layer in self._layers
        ]
        output: dense_block.Output = dense_block.dense_block(  # pyright: ignore
            params, x, layers.batch_statistics(x), self.remat
        )
        count = x.size // x.shape[-1]
        for layer, inner in zip(self._layers, output.inner, strict=True):
            known = layer.norm1.scale.shape[0]
            of_input = jax.tree.map(lambda s, n=known: s[:n], output.statistics)
            layer.norm1.update_running(of_input, count=count)
            layer.norm2.update_running(inner, count=count)
        return output.features, output.statistics


class Transition(nnx.Module):
    """BN, ReLU, 1x1 convolution and 2x2 average pooling between two dense blocks."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        dtype: DTypeLike,
        form: forms.Form,
        rngs: nnx.Rngs,
    ):
        """Creates the norm and the convolution."""
        self.norm = layers.BatchNorm(in_features, dtype=dtype, form=form)
        self.conv = layers.Convolution(
            in_features, out_features, 1, dtype=dtype, form=form, rngs=rngs
        )

    def __call__(
        self,
        maps: Sequence[Float[Array, "b h w _"]],
        *,
        train: bool,
        statistics: layers.Statistics | None,
    ) -> Float[Array, "b h2 w2 c2"]:
        """Returns the map at half the size.

        Pools before it convolves: both are linear and commute, and the convolution
        then has a quarter of the work. Differs from torchvision in rounding only.
        """
        x = self.norm.relu(maps, train=train, statistics=statistics)
        return self.conv(layers.average_pool_2x2(x))


class Features(nnx.Module):
    """The convolutional part, up to and including the last norm and ReLU."""

    def __init__(
        self,
        *,
        growth_rate: int,
        block_sizes: Sequence[int],
        num_init_features: int,
        bottleneck_factor: int,
        remat: bool,
        dtype: DTypeLike,
        form: forms.Form,
        rngs: nnx.Rngs,
    ):
        """Creates stem, dense blocks, transitions and the last norm."""
        self.num_blocks = len(block_sizes)
        self.form: forms.Form = form
        self.conv0 = layers.Convolution(
            3, num_init_features, 7, stride=2, dtype=dtype, form=form, rngs=rngs
        )
        self.norm0 = layers.BatchNorm(num_init_features, dtype=dtype, form=form)
        num_features = num_init_features
        for i, num_layers in enumerate(block_sizes, start=1):
            block = DenseBlock(
                num_features,
                num_layers,
                growth_rate=growth_rate,
                bottleneck_factor=bottleneck_factor,
                remat=remat,
                dtype=dtype,
                form=form,
                rngs=rngs,
            )
            setattr(self, f"denseblock{i}", block)
            num_features += num_layers * growth_rate
            if i < self.num_blocks:
                transition = Transition(
                    num_features, num_features // 2, dtype=dtype, form=form, rngs=rngs
                )
                setattr(self, f"transition{i}", transition)
                num_features //= 2
        self.norm5 = layers.BatchNorm(num_features, dtype=dtype, form=form)
        self.num_features = num_features

    def __call__(
        self, x: Float[Array, "b h w 3"], *, train: bool
    ) -> contract.ImageFeatures:
        """Returns the last feature map, 1/32 of the image's size, and each block's."""
        x = self.norm0.relu([self.conv0(x)], train=train)
        x = layers.max_pool_3x3_stride_2(x, form=self.form)
        maps, statistics, taps = [x], None, {}
        for i in range(1, self.num_blocks + 1):
            block: DenseBlock = getattr(self, f"denseblock{i}")
            maps, statistics = block(x, train=train)
            taps[f"denseblock{i}"] = jnp.concatenate(maps, axis=-1)
            if i < self.num_blocks:
                transition: Transition = getattr(self, f"transition{i}")
                x = transition(maps, train=train, statistics=statistics)
        last = self.norm5.relu(maps, train=train, statistics=statistics)
        return contract.ImageFeatures(last, taps)


class DenseNet(nnx.Module):
    """DenseNet-BC without its classifier; the defaults are DenseNet-121."""

    norm_after_pooling = None

    def __init__(
        self,
        *,
        growth_rate: int = 32,
        block_sizes: Sequence[int] = (6, 12, 24, 16),
        num_init_features: int = 64,
        bottleneck_factor: int = 4,
        remat: bool = False,
        dtype: DTypeLike,
        form: forms.Form = "plain",
        rngs: nnx.Rngs,
    ):
        """Creates the network.

        Args:
            growth_rate: features that each dense layer adds.
            block_sizes: number of dense layers in each block.
            num_init_features: features of the stem.
            bottleneck_factor: width of the 1x1 convolutions in growth rates.
            remat: keep of a dense layer what it is given, and compute it again for the
                gradient.
            dtype: compute type; parameters and statistics are float32.
            form: of the layers.
            rngs: source of the initial parameters.
        """
        self.features = Features(
            growth_rate=growth_rate,
            block_sizes=block_sizes,
            num_init_features=num_init_features,
            bottleneck_factor=bottleneck_factor,
            remat=remat,
            dtype=dtype,
            form=form,
            rngs=rngs,
        )
        self.form: forms.Form = form
        self.num_features = self.features.num_features
        self.tap_names = tuple(
            f"denseblock{i}" for i in range(1, self.features.num_blocks + 1)
        )
        # Stem and pooling round up, each transition rounds down.
        self.min_image_size_px = 4 * 2 ** (len(block_sizes) - 1) - 3

    def __call__(
        self,
        image: Float[Array, "b h w 3"],
        *,
        train: bool,
        key: Key[Array, ""] | None = None,
    ) -> contract.ImageFeatures:
        """Returns the feature map `[b, h / 32, w / 32, d]` in the compute type."""
        del key  # nothing in it is random
        return self.features(image, train=train)
