"""Configs for the tests: the default one with a model that compiles in seconds."""

import pathlib
from typing import Any

import ml_collections

from configs import default


def tiny(
    data_dir: pathlib.Path | str = "", **overrides: Any
) -> ml_collections.ConfigDict:
    """The smallest DenseNet on 32 px; overrides are dotted keys, dots as two _."""
    config = default.get_config()
    config.data_dir = str(data_dir)
    config.image_size = 32
    config.batch_size = 8
    config.num_epochs = 2
    config.log_every_steps = 1
    config.model.backbone = "densenet_tiny"
    config.model.hidden_features = 16
    config.graph.embedding_dim = 5
    config.update_from_flattened_dict(
        {key.replace("__", "."): value for key, value in overrides.items()}
    )
    return config
