"""The one registry: names in a config -> backbone and head."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax.numpy as jnp
from flax import nnx

from mlgcn_jax.data import config_dict
from mlgcn_jax.models import (
    contract,
    convnext,
    densenet,
    heads,
    multi_label_model,
    resnet,
    vit,
)


def _of_any_size(
    constructor: Callable[..., contract.Backbone], **options: Any
) -> Callable[..., contract.Backbone]:
    """Returns the constructor of a backbone that takes images of every size."""

    def create(*, image_size: int | None = None, **kwargs: Any) -> contract.Backbone:
        del image_size
        return constructor(**options, **kwargs)

    return create


_CONVNEXT_BASE = {"depths": (3, 3, 27, 3), "widths": (128, 256, 512, 1024)}

# name -> constructor taking dtype, remat, image_size (px, of a square) and rngs. Add a
# backbone by adding a line; models/timm_folder.py says which timm model it is.
BACKBONES: dict[str, Callable[..., multi_label_model.Backbone]] = {
    "densenet_tiny": lambda **kwargs: densenet.DenseNet(
        growth_rate=8, block_sizes=(2, 2), num_init_features=16, **kwargs
    ),
    "densenet121": densenet.DenseNet,
    "densenet169": lambda **kwargs: densenet.DenseNet(
        block_sizes=(6, 12, 32, 32), **kwargs
    ),
    "densenet201": lambda **kwargs: densenet.DenseNet(
        block_sizes=(6, 12, 48, 32), **kwargs
    ),
    "resnet50": resnet.ResNet,
    "resnet101": lambda **kwargs: resnet.ResNet(block_sizes=(3, 4, 23, 3), **kwargs),
    "resnet152": lambda **kwargs: resnet.ResNet(block_sizes=(3, 8, 36, 3), **kwargs),
    "convnext_test": _of_any_size(
        convnext.ConvNeXt, depths=(1, 2, 4, 2), widths=(24, 32, 48, 64)
    ),
    "convnext_tiny": _of_any_size(convnext.ConvNeXt),
    "convnext_small": _of_any_size(convnext.ConvNeXt, depths=(3, 3, 27, 3)),
    "convnext_base": _of_any_size(convnext.ConvNeXt, **_CONVNEXT_BASE),
    "convnext_base_wd": _of_any_size(
        convnext.ConvNeXt, **_CONVNEXT_BASE, approximate_gelu=True
    ),
    "vit_test_patch16": functools.partial(
        vit.ViT, num_blocks=6, num_features=64, num_heads=2
    ),
    "vit_tiny_patch16": functools.partial(vit.ViT, num_features=192, num_heads=3),
    "vit_small_patch16": functools.partial(vit.ViT, num_features=384, num_heads=6),
    "vit_base_patch16": vit.ViT,
    "vit_base_patch16_wd": functools.partial(
        vit.ViT, class_token=False, approximate_gelu=True
    ),
}

# name -> constructor taking (config, num_labels, num_features, rngs).
HEADS: dict[str, Callable[..., multi_label_model.Head]] = {
    "gcn": lambda config, num_labels, num_features, rngs: heads.GCNHead(
        num_labels,
        num_features,
        embedding=config.graph.embedding,
        embedding_dim=config.graph.embedding_dim,
        hidden_features=config.model.hidden_features,
        rngs=rngs,
    ),
    "linear": lambda config, num_labels, num_features, rngs: heads.LinearHead(
        num_labels, num_features, rngs=rngs
    ),
}

T = TypeVar("T")

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def create_model(
    config: config_dict.ConfigDict, *, num_labels: int, rngs: nnx.Rngs
) -> multi_label_model.MultiLabelModel:
    """Returns the model that `config.model`, `graph` and `remat` describe.

    Wrap in `nnx.eval_shape` for its structure alone and in `jax.jit` to initialise:
    eager construction is slow.

    Raises:
        ValueError: a name is not registered; the message lists those that are. The
            images are smaller than the backbone can take.
    """
    backbone = _find(BACKBONES, config.model.backbone, "config.model.backbone")
    head = _find(HEADS, config.model.head, "config.model.head")
    dtype = _find(DTYPES, config.model.dtype, "config.model.dtype")
    _find(multi_label_model.POOLINGS, config.model.pooling, "config.model.pooling")
    features = backbone(dtype=dtype, remat=config.remat, rngs=rngs)
    model = multi_label_model.MultiLabelModel(
        features,
        head(config, num_labels, features.num_features, rngs),
        pooling=config.model.pooling,
    )
    model.check_image_size(config.image_size)
    return model


def _find(table: dict[str, T], name: str, key: str) -> T:
    if name not in table:
        raise ValueError(f"{key}={name!r} is not known; use one of {sorted(table)}")
    return table[name]
