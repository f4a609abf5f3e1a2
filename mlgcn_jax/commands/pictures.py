"""Shows training pictures of a config as the model sees them, augmented.

mlgcn pictures --config=CONFIG [--config.KEY=VALUE ...] [--step=0] [--output=FILE.png]
"""

import contextlib
import pathlib

import jax
from absl import app, flags
from ml_collections import config_flags

from mlgcn_jax.data import dataset
from mlgcn_jax.learning.augmentations import registry as augmentations
from mlgcn_jax.schema import configs
from mlgcn_jax.training import training_batches, training_pictures

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file.")
_STEP = flags.DEFINE_integer("step", 0, "The step whose batch is shown.", 0)
_OUTPUT = flags.DEFINE_string("output", "pictures.png", "Where the sheet is written.")
flags.mark_flag_as_required("config")


def main(argv: list[str]) -> None:
    """Runs the stage."""
    if len(argv) != 1:
        raise app.UsageError(f"expected options alone, found {argv[1:]}")
    config = _CONFIG.value
    configs.check(config)
    data = dataset.open_source(config.dataset, config.data_dir)
    options = training_batches.augmentation_options(config)
    augmentations.check(options, batch_size=config.batch_size)
    batches = training_batches.open_batches(config, data, start_step=_STEP.value)
    with contextlib.closing(batches):
        batch = next(batches)
    output = pathlib.Path(_OUTPUT.value)
    training_pictures.save(
        output,
        batch,
        data.vocabulary.labels,
        augmentations.create(options, pad_colour=config.pad_colour),
        jax.random.fold_in(jax.random.key(config.seed), _STEP.value),
    )
    print(f"training pictures of step {_STEP.value}: {output}")
