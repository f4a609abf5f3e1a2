"""The one registry: names in a config -> backbone and head."""

from collections.abc import Callable
from typing import TypeVar

import jax.numpy as jnp
from flax import nnx

from mlgcn_jax.data import config_dict
from mlgcn_jax.models import densenet, heads, multi_label_model, resnet

# name -> constructor taking dtype, remat and rngs. Add a backbone by adding a line.
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
