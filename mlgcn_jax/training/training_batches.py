"""The batches that a config trains on, and what is done to them on the device."""

from typing import Any

import grain
import numpy as np

from mlgcn_jax.data import config_dict, crops, input_pipeline, source
from mlgcn_jax.learning.augmentations import registry as augmentations


def open_batches(
    config: config_dict.ConfigDict,
    data: source.Source,
    *,
    start_step: int,
    rows: slice = slice(None),
) -> grain.DatasetIterator[dict[str, np.ndarray]]:
    """Returns the batches from a step on, see `input_pipeline.train_batches`."""
    return input_pipeline.train_batches(
        data,
        image_size=config.image_size,
        batch_size=config.batch_size,
        seed=config.seed,
        start_step=start_step,
        num_threads=config.num_threads,
        rows=rows,
        choose_crop=crops.create(
            {name: config.augmentation[name] for name in crops.OPTIONS}
        ),
        pad_colour=config.pad_colour,
    )


def augmentation_options(config: config_dict.ConfigDict) -> dict[str, Any]:
    """Returns the options of `augmentations` that a config has."""
    options = {"flip": config.flip, **config.augmentation}
    return {name: options[name] for name in augmentations.OPTIONS}
