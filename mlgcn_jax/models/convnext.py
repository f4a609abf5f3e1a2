"""ConvNeXt (Liu et al., CVPR 2022, arXiv:2201.03545): image -> feature map.

Submodules carry timm's names (`stages.0.blocks.1.conv_dw`, `head.norm`, ...).
"""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from mlgcn_jax.models import block_layers, contract, forms, layers

_STEM_STRIDE = 4
_INITIAL_LAYER_SCALE = 1e-6


class Stem(nnx.Module):
    """Convolution `0` of patches of 4 x 4 pixels and layer norm `1`."""

    def __init__(self, num_features: int, *, dtype: DTypeLike, rngs: nnx.Rngs):
        """Creates the convolution and the norm."""
        conv = block_layers.PatchConvolution(
            3, num_features, _STEM_STRIDE, dtype=dtype, rngs=rngs
        )
        setattr(self, "0", conv)
        setattr(self, "1", block_layers.LayerNorm(num_features, dtype=dtype))

    def __call__(self, image: Float[Array, "b h w 3"]) -> Float[Array, "b h2 w2 c"]:
        """Returns the map at a quarter of the size, rounded down."""
        conv: block_layers.PatchConvolution = getattr(self, "0")
        norm: block_layers.LayerNorm = getattr(self, "1")
        return norm(conv(image))


class Downsample(nnx.Module):
    """Layer norm `0` and convolution `1` of patches of 2 x 2 positions."""

    def __init__(
        self, in_features: int, out_features: int, *, dtype: DTypeLike, rngs: nnx.Rngs
    ):
        """Creates the norm and the convolution."""
        setattr(self, "0", block_layers.LayerNorm(in_features, dtype=dtype))
        conv = block_layers.PatchConvolution(
            in_features, out_features, 2, dtype=dtype, rngs=rngs
        )
        setattr(self, "1", conv)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c2"]:
        """Returns the map at half the size, rounded down."""
        norm: block_layers.LayerNorm = getattr(self, "0")
        conv: block_layers.PatchConvolution = getattr(self, "1")
        return conv(norm(x))


class Block(nnx.Module):
    """7x7 depthwise convolution, layer norm, MLP and layer scale beside a shortcut."""

    def __init__(
        self,
        num_features: int,
        *,
        drop_path_rate: float,
        approximate_gelu: bool,
        dtype: DTypeLike,
        form: forms.Form,
        rngs: nnx.Rngs,
    ):
        """Creates the block; layer scale `gamma` starts from 1e-6."""
        self.conv_dw = block_layers.DepthwiseConvolution(
            num_features, 7, dtype=dtype, form=form, rngs=rngs
        )
        self.norm = block_layers.LayerNorm(num_features, dtype=dtype)
        self.mlp = block_layers.MLP(
            num_features,
            4 * num_features,
            approximate_gelu=approximate_gelu,
            dtype=dtype,
            rngs=rngs,
        )
        self.gamma = nnx.Param(jnp.full(num_features, _INITIAL_LAYER_SCALE))
        self.drop_path_rate = drop_path_rate

    def __call__(
        self, x: Float[Array, "b h w c"], key: Key[Array, ""] | None
    ) -> Float[Array, "b h w c"]:
        """Returns x and what the block adds; with a key not to every image."""
        y = self.mlp(self.norm(self.conv_dw(x)), None)
        y = (y * block_layers.along_last(self.gamma[...], y)).astype(x.dtype)
        return x + block_layers.drop_path(y, rate=self.drop_path_rate, key=key)


class Blocks(nnx.Module):
    """Blocks `0`, `1`, ... of one width."""

    def __init__(
        self,
        num_features: int,
        drop_path_rates: Sequence[float],
        *,
        approximate_gelu: bool,
        remat: bool,
        dtype: DTypeLike,
        form: forms.Form,
        rngs: nnx.Rngs,
    ):
        """Creates a block for each rate."""
        self.num_blocks = len(drop_path_rates)
        self.remat = remat
        for i, rate in enumerate(drop_path_rates):
            block = Block(
                num_features,
                drop_path_rate=rate,
                approximate_gelu=approximate_gelu,
                dtype=dtype,
                form=form,
                rngs=rngs,
            )
            setattr(self, str(i), block)

    def __call__(
        self, x: Float[Array, "b h w c"], *, train: bool, key: Key[Array, ""] | None
    ) -> Float[Array, "b h w c"]:
        """Returns the last block's output."""

        def run(block: Block, x: Array, key: Key[Array, ""] | None) -> Array:
            return block(x, key)

        if train and self.remat:
            run = layers.compute_again(run)
        for i, block_key in enumerate(block_layers.split(key, self.num_blocks)):
            x = run(getattr(self, str(i)), x, block_key)
        return x


class Stage(nnx.Module):
    """Blocks of one width, after a downsampling in all stages but the first."""

    def __init__(
        self,
        in_features: int,
        num_features: int,
        drop_path_rates: Sequence[float],
        *,
        approximate_gelu: bool,
        remat: bool,
        dtype: DTypeLike,
        form: forms.Form,
        rngs: nnx.Rngs,
    ):
        """Creates the stage; there is a downsampling where the width changes."""
        if in_features == num_features:
            self.downsample = None
        else:
            self.downsample = Downsample(
                in_features, num_features, dtype=dtype, rngs=rngs
            )
        self.blocks = Blocks(
            num_features,
            drop_path_rates,
            approximate_gelu=approximate_gelu,
            remat=remat,
            dtype=dtype,
            form=form,
            rngs=rngs,
        )

    def __call__(
        self, x: Float[Array, "b h w c"], *, train: bool, key: Key[Array, ""] | None
    ) -> Float[Array, "b h2 w2 c2"]:
        """Returns the last block's output."""
        x = x if self.downsample is None else self.downsample(x)
        return self.blocks(x, train=train, key=key)


class Stages(nnx.Module):
    """Stages `0`, `1`, ..."""

    def __init__(
        self,
        depths: Sequence[int],
        widths: Sequence[int],
        *,
        drop_path_rate: float,
        approximate_gelu: bool,
        remat: bool,
        dtype: DTypeLike,
        form: forms.Form,
        rngs: nnx.Rngs,
    ):
        """Creates the stages; see `ConvNeXt`."""
        self.num_stages = len(depths)
        rates = block_layers.drop_path_rates(drop_path_rate, sum(depths))
        for i, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            first = sum(depths[:i])
            stage = Stage(
                widths[max(i - 1, 0)],
                width,
                rates[first : first + depth],
                approximate_gelu=approximate_gelu,
                remat=remat,
                dtype=dtype,
                form=form,
                rngs=rngs,
            )
            setattr(self, str(i), stage)

    def __call__(
        self, x: Float[Array, "b h w c"], *, train: bool, key: Key[Array, ""] | None
    ) -> list[Float[Array, "b _ _ _"]]:
        """Returns the output of each stage."""
        maps = []
        for i, stage_key in enumerate(block_layers.split(key, self.num_stages)):
            stage: Stage = getattr(self, str(i))
            x = stage(x, train=train, key=stage_key)
            maps.append(x)
        return maps


class Head(nnx.Module):
    """What is left of ConvNeXt's head without its classifier: the norm."""

    def __init__(self, num_features: int, *, dtype: DTypeLike):
        """Creates the norm."""
        self.norm = block_layers.LayerNorm(num_features, dtype=dtype)


class ConvNeXt(nnx.Module):
    """ConvNeXt without its classifier; the defaults are ConvNeXt-T.

    Its last layer norm comes after the pooling, which is the scorer's: it is handed
    out with the features. The norm of each position and then their mean would be
    something else.
    """

    def __init__(
        self,
        *,
        depths: Sequence[int] = (3, 3, 9, 3),
        widths: Sequence[int] = (96, 192, 384, 768),
        drop_path_rate: float = 0.0,
        approximate_gelu: bool = False,
        remat: bool = False,
        dtype: DTypeLike,
        form: forms.Form = "plain",
        rngs: nnx.Rngs,
    ):
        """Creates the network.

        Args:
            depths: number of blocks in each stage.
            widths: features of each stage, all different.
            drop_path_rate: of the last block; it grows evenly from 0 at the first. The
                paper has 0.1, 0.4 and 0.5 for T, S and B on ImageNet-1K.
            approximate_gelu: the tanh form of GELU, which wd-tagger's models have.
            remat: keep of a block what it is given, and compute it again for the
                gradient.
            dtype: compute type; parameters are float32.
            form: of the layers.
            rngs: source of the initial parameters.
        """
        self.stem = Stem(widths[0], dtype=dtype, rngs=rngs)
        self.stages = Stages(
            depths,
            widths,
            drop_path_rate=drop_path_rate,
            approximate_gelu=approximate_gelu,
            remat=remat,
            dtype=dtype,
            form=form,
            rngs=rngs,
        )
        self.head = Head(widths[-1], dtype=dtype)
        self.num_features = widths[-1]
        # Stem and downsamplings round down.
        self.min_image_size_px = _STEM_STRIDE * 2 ** (len(depths) - 1)
        self.tap_names = tuple(f"stage{i + 1}" for i in range(len(depths)))

    def __call__(
        self,
        image: Float[Array, "b h w 3"],
        *,
        train: bool,
        key: Key[Array, ""] | None = None,
    ) -> contract.ImageFeatures:
        """Returns the feature map `[b, h / 32, w / 32, d]` in the compute type.

        Args:
            image: normalised.
            train: drop paths, where there is a key.
            key: source of randomness; None: nothing is dropped.
        """
        maps = self.stages(self.stem(image), train=train, key=key if train else None)
        taps = dict(zip(self.tap_names, maps, strict=True))
        return contract.ImageFeatures(maps[-1], taps)

    @property
    def norm_after_pooling(self) -> contract.Norm:
        """Timm's `head.norm`."""
        return self.head.norm.as_norm()
