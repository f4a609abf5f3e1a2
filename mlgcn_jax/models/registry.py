"""The one registry: names in a config -> backbone and head."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx

from mlgcn_jax.data import config_dict, foreign_code
from mlgcn_jax.models import (
    construction,
    contract,
    convnext,
    densenet,
    forms,
    multi_label_model,
    normalization,
    resnet,
    vit,
)
from mlgcn_jax.models.foreign import backbone as foreign_backbones
from mlgcn_jax.models.foreign import head as foreign_heads
from mlgcn_jax.models.heads import classifiers, csra, gcn, linear

_CONVNEXT_BASE = functools.partial(
    convnext.ConvNeXt, depths=(3, 3, 27, 3), widths=(128, 256, 512, 1024)
)

# name -> constructor, which is given what it takes of dtype, form, remat, image_size,
# drop_path_rate and rngs. Add a backbone by adding a line;
# models/timm_folder.py says which model of timm it is.
BACKBONES: dict[str, Callable[..., contract.Backbone]] = {
    "densenet_tiny": functools.partial(
        densenet.DenseNet, growth_rate=8, block_sizes=(2, 2), num_init_features=16
    ),
    "densenet121": densenet.DenseNet,
    "densenet169": functools.partial(densenet.DenseNet, block_sizes=(6, 12, 32, 32)),
    "densenet201": functools.partial(densenet.DenseNet, block_sizes=(6, 12, 48, 32)),
    "resnet50": resnet.ResNet,
    "resnet101": functools.partial(resnet.ResNet, block_sizes=(3, 4, 23, 3)),
    "resnet152": functools.partial(resnet.ResNet, block_sizes=(3, 8, 36, 3)),
    "convnext_test": functools.partial(
        convnext.ConvNeXt, depths=(1, 2, 4, 2), widths=(24, 32, 48, 64)
    ),
    "convnext_tiny": convnext.ConvNeXt,
    "convnext_small": functools.partial(convnext.ConvNeXt, depths=(3, 3, 27, 3)),
    "convnext_base": _CONVNEXT_BASE,
    "convnext_base_wd": functools.partial(_CONVNEXT_BASE, approximate_gelu=True),
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

# name -> constructor, which is given what it takes of num_labels, num_features,
# pooling, the label embeddings and rngs, and the options in the section of the config
# that has its name. Add a head by adding a line.
HEADS: dict[str, Callable[..., contract.Head]] = {
    "gcn": gcn.GCNHead,
    "linear": linear.LinearHead,
    "csra": csra.CSRAHead,
}

# name of a head -> its options, of those that have any.
OPTIONS = {"csra": csra.OPTIONS}

T = TypeVar("T")

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def create_model(
    config: config_dict.ConfigDict,
    *,
    num_labels: int,
    form: forms.Form = "plain",
    rngs: nnx.Rngs,
) -> multi_label_model.MultiLabelModel:
    """Returns the model that `config.model`, `graph` and `remat` describe.

    Wrap in `nnx.eval_shape` for its structure alone and in `jax.jit` to initialise:
    eager construction is slow.

    Raises:
        ValueError: a name is not registered; the message lists those that are. The
            images are smaller than the backbone can take. A module of others cannot
            be used, or has no such option.
    """
    _find(classifiers.POOLINGS, config.model.pooling, "config.model.pooling")
    backbone = _create_backbone(config, form, rngs)
    head = _create_head(config, backbone, num_labels=num_labels, rngs=rngs)
    model = multi_label_model.MultiLabelModel(
        backbone,
        head,
        normalize=normalization.Normalization(
            tuple(config.model.pixel_mean),
            tuple(config.model.pixel_std),
            config.model.colour_order,
        ),
        form=form,
    )
    model.check_image_size(config.image_size)
    return model


def _create_backbone(
    config: config_dict.ConfigDict, form: forms.Form, rngs: nnx.Rngs
) -> contract.Backbone:
    name = config.model.backbone
    named = f"config.model.backbone={name!r}"
    supplied: dict[str, Any] = {
        "dtype": _find(DTYPES, config.model.dtype, "config.model.dtype"),
        "image_size": config.image_size,
        "form": form,
        "rngs": rngs,
    }
    options = dict(config.model.backbone_options)
    # Asked for, and refused by a backbone that cannot.
    if config.remat:
        options["remat"] = True
    if config.model.drop_path_rate:
        options["drop_path_rate"] = config.model.drop_path_rate
    if not foreign_code.is_foreign(name):
        create = _find(BACKBONES, name, "config.model.backbone")
        return construction.call_with(create, supplied, options, named)
    module = _make_foreign(name, named, supplied, options)
    if isinstance(module, contract.Backbone):
        return module
    return foreign_backbones.ForeignBackbone(
        module, name, image_size=config.image_size, rngs=rngs
    )


def _create_head(
    config: config_dict.ConfigDict,
    backbone: contract.Backbone,
    *,
    num_labels: int,
    rngs: nnx.Rngs,
) -> contract.Head:
    name = config.model.head
    named = f"config.model.head={name!r}"
    supplied = {
        "num_labels": num_labels,
        "num_features": backbone.num_features,
        "pooling": config.model.pooling,
        "hidden_features": config.model.hidden_features,
        "embedding": config.graph.embedding,
        "embedding_dim": config.graph.embedding_dim,
        "rngs": rngs,
    }
    options = dict(config.model.head_options)
    if not foreign_code.is_foreign(name):
        create = _find(HEADS, name, "config.model.head")
        options |= config.model.get(name, {})
        return construction.call_with(create, supplied, options, named)
    # As modules call these elsewhere.
    supplied |= dict.fromkeys(("num_classes", "out_features", "features"), num_labels)
    supplied["in_features"] = backbone.num_features
    module = _make_foreign(name, named, supplied, options)
    if isinstance(module, contract.Head):
        return module
    size = config.image_size
    features = jax.eval_shape(
        lambda: backbone(jnp.zeros((2, size, size, 3)), train=False)
    )
    return foreign_heads.ForeignHead(
        module,
        name,
        map_shape=features.feature_map.shape,
        num_labels=num_labels,
        rngs=rngs,
    )


def _make_foreign(
    name: str, named: str, supplied: Mapping[str, Any], options: Mapping[str, Any]
) -> Any:
    make = foreign_code.find(name, named)
    with foreign_code.refused(named, "where it is made"):
        return construction.call_with(make, supplied, options, named)


def _find(table: dict[str, T], name: str, key: str) -> T:
    if name not in table:
        raise ValueError(f"{key}={name!r} is not known; use one of {sorted(table)}")
    return table[name]
