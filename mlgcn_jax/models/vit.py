"""Vision transformer (Dosovitskiy et al., ICLR 2021, arXiv:2010.11929): image -> map.

Submodules carry timm's names (`blocks.0.attn.qkv`, `patch_embed.proj`, ...).
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from mlgcn_jax.models import block_layers, contract, layers

CLASS_TOKEN = "class_token"


class Attention(nnx.Module):
    """Multi-head self-attention (Vaswani et al., arXiv:1706.03762, 3.2)."""

    def __init__(
        self,
        num_features: int,
        num_heads: int,
        *,
        dropout_rate: float,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        """Creates `qkv`, all queries, then all keys, then all values, and `proj`."""
        self.qkv = block_layers.Linear(
            num_features, 3 * num_features, dtype=dtype, rngs=rngs
        )
        self.proj = block_layers.Linear(
            num_features, num_features, dtype=dtype, rngs=rngs
        )
        self.num_heads = num_heads
        self.dropout_rate = dropout_rate

    def __call__(
        self, x: Float[Array, "b n c"], key: Key[Array, ""] | None
    ) -> Float[Array, "b n c"]:
        """Returns what each token takes from all; the softmax is float32."""
        b, n, c = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.num_heads, c // self.num_heads)
        y = jax.nn.dot_product_attention(qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2])
        y = self.proj(y.reshape(b, n, c))
        return block_layers.dropout(y, rate=self.dropout_rate, key=key)


class Block(nnx.Module):
    """Layer norm and attention, layer norm and MLP, each beside a shortcut."""

    def __init__(
        self,
        num_features: int,
        num_heads: int,
        *,
        drop_path_rate: float,
        dropout_rate: float,
        approximate_gelu: bool,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        """Creates the block; the MLP is four times as wide inside."""
        self.norm1 = block_layers.LayerNorm(num_features, dtype=dtype)
        self.attn = Attention(
            num_features, num_heads, dropout_rate=dropout_rate, dtype=dtype, rngs=rngs
        )
        self.norm2 = block_layers.LayerNorm(num_features, dtype=dtype)
        self.mlp = block_layers.MLP(
            num_features,
            4 * num_features,
            approximate_gelu=approximate_gelu,
            dropout_rate=dropout_rate,
            dtype=dtype,
            rngs=rngs,
        )
        self.drop_path_rate = drop_path_rate

    def __call__(
        self, x: Float[Array, "b n c"], key: Key[Array, ""] | None
    ) -> Float[Array, "b n c"]:
        """Returns x and what the block adds; with a key not to every image."""
        in_attn, of_attn, in_mlp, of_mlp = block_layers.split(key, 4)
        rate = self.drop_path_rate
        y = self.attn(self.norm1(x), in_attn)
        x = x + block_layers.drop_path(y, rate=rate, key=of_attn)
        y = self.mlp(self.norm2(x), in_mlp)
        return x + block_layers.drop_path(y, rate=rate, key=of_mlp)


class Blocks(nnx.Module):
    """Blocks `0`, `1`, ..."""

    def __init__(
        self,
        num_blocks: int,
        num_features: int,
        num_heads: int,
        *,
        drop_path_rate: float,
        dropout_rate: float,
        approximate_gelu: bool,
        remat: bool,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        """Creates the blocks; see `ViT`."""
        self.num_blocks = num_blocks
        self.remat = remat
        rates = block_layers.drop_path_rates(drop_path_rate, num_blocks)
        for i, rate in enumerate(rates):
            block = Block(
                num_features,
                num_heads,
                drop_path_rate=rate,
                dropout_rate=dropout_rate,
                approximate_gelu=approximate_gelu,
                dtype=dtype,
                rngs=rngs,
            )
            setattr(self, str(i), block)

    def __call__(
        self, x: Float[Array, "b n c"], *, train: bool, key: Key[Array, ""] | None
    ) -> list[Float[Array, "b n c"]]:
        """Returns the output of each block."""

        def run(block: Block, x: Array, key: Key[Array, ""] | None) -> Array:
            return block(x, key)

        if train and self.remat:
            run = layers.compute_again(run)
        outputs = []
        for i, block_key in enumerate(block_layers.split(key, self.num_blocks)):
            x = run(getattr(self, str(i)), x, block_key)
            outputs.append(x)
        return outputs


class PatchEmbedding(nnx.Module):
    """Convolution `proj` of patches."""

    def __init__(
        self, num_features: int, patch_size: int, *, dtype: DTypeLike, rngs: nnx.Rngs
    ):
        """Creates the convolution."""
        self.proj = block_layers.PatchConvolution(
            3, num_features, patch_size, dtype=dtype, rngs=rngs
        )

    def __call__(self, image: Float[Array, "b h w 3"]) -> Float[Array, "b n c"]:
        """Returns a token for each patch, row by row."""
        x = self.proj(image)
        return x.reshape(len(x), -1, x.shape[-1])  # [b, n, c]


class ViT(nnx.Module):
    """ViT without its classifier; the defaults are ViT-B/16 at 224 px."""

    norm_after_pooling = None  # tokens are normalised before

    def __init__(
        self,
        *,
        image_size: int | tuple[int, int] = 224,
        patch_size: int = 16,
        num_blocks: int = 12,
        num_features: int = 768,
        num_heads: int = 12,
        class_token: bool = True,
        drop_path_rate: float = 0.0,
        dropout_rate: float = 0.0,
        approximate_gelu: bool = False,
        remat: bool = False,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        """Creates the network.

        Args:
            image_size: side in pixels, or height and width, that all images have: each
                patch has an embedding of its position.
            patch_size: side of a patch in pixels.
            num_blocks: depth.
            num_features: d, width of the tokens.
            num_heads: of the attention; they share the width.
            class_token: a token of no patch, which sees all of them.
            drop_path_rate: of the last block; it grows evenly from 0 at the first.
            dropout_rate: of tokens with their positions, and behind each linear layer
                but queries, keys and values (B.1 of the paper).
            approximate_gelu: the tanh form of GELU, which wd-tagger's models have.
            remat: keep of a block what it is given, and compute it again for the
                gradient.
            dtype: compute type; parameters are float32.
            rngs: source of the initial parameters.

        Raises:
            ValueError: the image is not made of whole patches.
        """
        if isinstance(image_size, int):
            image_size = image_size, image_size
        self.image_size = image_size
        self.grid = _grid(image_size, patch_size)
        num_tokens = math.prod(self.grid) + class_token
        initial = block_layers.initial_kernel
        self.cls_token = (
            nnx.Param(initial(rngs.params(), (1, 1, num_features)))
            if class_token
            else None
        )
        self.pos_embed = nnx.Param(
            initial(rngs.params(), (1, num_tokens, num_features))
        )
        self.patch_embed = PatchEmbedding(
            num_features, patch_size, dtype=dtype, rngs=rngs
        )
        self.blocks = Blocks(
            num_blocks,
            num_features,
            num_heads,
            drop_path_rate=drop_path_rate,
            dropout_rate=dropout_rate,
            approximate_gelu=approximate_gelu,
            remat=remat,
            dtype=dtype,
            rngs=rngs,
        )
        self.norm = block_layers.LayerNorm(num_features, dtype=dtype)
        self.dropout_rate = dropout_rate
        self.num_features = num_features
        self.min_image_size_px = min(image_size)
        of_blocks = (f"block{i + 1}" for i in range(num_blocks))
        self.tap_names = (*of_blocks, *([CLASS_TOKEN] if class_token else []))

    def __call__(
        self,
        image: Float[Array, "b h w 3"],
        *,
        train: bool,
        key: Key[Array, ""] | None = None,
    ) -> contract.ImageFeatures:
        """Returns the tokens of the patches as a map `[b, h / p, w / p, d]`.

        Map and the tap of the class token, `[b, 1, 1, d]`, are behind the last norm,
        those of the blocks, `[b, h / p, w / p, d]`, before it.

        Args:
            image: normalised.
            train: drop paths and values, where there is a key.
            key: source of randomness; None: nothing is dropped.

        Raises:
            ValueError: the image has another size than those that the network is for.
        """
        if image.shape[1:3] != self.image_size:
            raise ValueError(
                f"images of {image.shape[1]} x {image.shape[2]} px, expected "
                f"{self.image_size[0]} x {self.image_size[1]}: this ViT has embeddings "
                "for that many patches; make it for the size of the images"
            )
        at_first, in_blocks = block_layers.split(key if train else None, 2)
        x = self.patch_embed(image)
        if self.cls_token is not None:
            of_all = jnp.broadcast_to(self.cls_token[...], (len(x), 1, x.shape[-1]))
            x = jnp.concatenate([of_all.astype(x.dtype), x], axis=1)
        x = x + self.pos_embed[...].astype(x.dtype)
        x = block_layers.dropout(x, rate=self.dropout_rate, key=at_first)
        outputs = self.blocks(x, train=train, key=in_blocks)
        tokens = self.norm(outputs[-1])
        taps = {f"block{i + 1}": self._map(y) for i, y in enumerate(outputs)}
        if self.cls_token is not None:
            taps[CLASS_TOKEN] = tokens[:, None, :1]  # [b, 1, 1, d]
        return contract.ImageFeatures(self._map(tokens), taps)

    def _map(self, tokens: Float[Array, "b n d"]) -> Float[Array, "b h2 w2 d"]:
        patches = tokens[:, tokens.shape[1] - math.prod(self.grid) :]
        return patches.reshape(len(tokens), *self.grid, -1)  # [b, h/p, w/p, d]

    def fit_positions(
        self, positions: Float[np.ndarray, "1 n d"]
    ) -> Float[np.ndarray, "1 n2 d"]:
        """Returns position embeddings of a square grid for the grid of this network.

        Raises:
            ValueError: they are of no square grid.
        """
        num_others = self.pos_embed.shape[1] - math.prod(self.grid)
        return resample_positions(positions, self.grid, num_others=num_others)


def resample_positions(
    positions: Float[np.ndarray, "1 n d"], grid: tuple[int, int], *, num_others: int
) -> Float[np.ndarray, "1 n2 d"]:
    """Returns position embeddings of a square grid for another grid.

    Bicubic, with antialiasing where the grid gets smaller, as timm does.

    Args:
        positions: those of tokens of no patch first, then row by row.
        grid: height and width in patches.
        num_others: tokens of no patch.

    Raises:
        ValueError: they are of no square grid.
    """
    _, num_tokens, d = positions.shape
    side = math.isqrt(max(num_tokens - num_others, 0))
    if side < 1 or side**2 + num_others != num_tokens:
        raise ValueError(
            f"{num_tokens} position embeddings are not those of a square grid of "
            f"patches and {num_others} more"
        )
    others, patches = np.split(positions, [num_others], axis=1)
    patches = patches.reshape(1, side, side, d)  # [1, h, w, d]
    resized = jax.image.resize(patches, (1, *grid, d), "bicubic", antialias=True)
    return np.concatenate([others, np.asarray(resized).reshape(1, -1, d)], axis=1)


def _grid(image_size: tuple[int, int], patch_size: int) -> tuple[int, int]:
    """Returns height and width in patches."""
    height, width = image_size
    if min(image_size) < patch_size or height % patch_size or width % patch_size:
        below = max(min(image_size) // patch_size, 1) * patch_size
        raise ValueError(
            f"images of {height} x {width} px are not made of whole patches of "
            f"{patch_size} px; use a multiple of {patch_size} as config.image_size, "
            f"such as {below}"
        )
    return height // patch_size, width // patch_size
