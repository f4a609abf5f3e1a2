"""Options that promise what others of the same config or the dataset cannot keep.

`check` refuses them before a new run begins; `tell` says in a line each what is done,
and may be meant, but is easily not expected.
"""

import operator

from absl import logging

from mlgcn_jax.data import config_dict, foreign_code, source
from mlgcn_jax.learning.augmentations import registry as augmentations
from mlgcn_jax.schema import configs
from mlgcn_jax.training import training_batches

_DEFAULT_WARMUP_EPOCHS = 1.0  # of configs/default.py, whose schedule has no warm-up


def check(config: config_dict.ConfigDict) -> None:
    """Checks the options of a run that is not trained yet against each other.

    Raises:
        ValueError: one has no effect where another is as it is.
    """
    _check_sections(config)
    augmentations.check(
        training_batches.augmentation_options(config), batch_size=config.batch_size
    )
    options = config.optimizer
    warmup_epochs = options.warmup_epochs
    if options.schedule == "constant" and warmup_epochs not in (
        0,
        _DEFAULT_WARMUP_EPOCHS,
    ):
        raise ValueError(
            f"config.optimizer.warmup_epochs={warmup_epochs} has no effect with "
            "config.optimizer.schedule='constant'; use schedule='warmup_cosine', or "
            "warmup_epochs=0"
        )
    if config.graph.embedding_file and config.graph.embedding != "file":
        raise ValueError(
            f"config.graph.embedding_file={config.graph.embedding_file} is not read "
            f"with config.graph.embedding={config.graph.embedding!r}; use "
            "embedding='file', or leave the file out"
        )
    if config.num_epochs == 0:
        return
    if config.keep_every_epochs > config.num_epochs:
        raise ValueError(
            f"config.keep_every_epochs={config.keep_every_epochs} keeps nothing of a "
            f"run of {config.num_epochs} epochs; use a smaller number, or 0"
        )
    if options.head_learning_rate_factor == 0 and (
        options.backbone_learning_rate_factor == 0 or _is_frozen_to_the_end(config)
    ):
        raise ValueError(
            "nothing would learn: config.optimizer.head_learning_rate_factor is 0 and "
            "the backbone is frozen (its own factor is 0, or frozen_backbone_epochs="
            f"{options.frozen_backbone_epochs} of {config.num_epochs}); let one of "
            "them learn, or use config.num_epochs=0"
        )


def _check_sections(config: config_dict.ConfigDict) -> None:
    """Raises ValueError where an option is set of what is not chosen."""
    if config.loss.options and not foreign_code.is_foreign(config.loss.name):
        raise ValueError(
            f"config.loss.options={config.loss.options.to_dict()} has no effect with "
            f"config.loss.name={config.loss.name!r}, whose options are config.loss."
            f"{config.loss.name}.*"
        )
    for row in configs.of_others(config):
        value = operator.attrgetter(row.name)(config)
        if value != row.default:
            raise ValueError(
                f"config.{row.name}={value} has no effect with config.{row.choice}="
                f"{row.chosen!r}; use {row.choice}={row.owner!r}, or leave the option "
                "out"
            )


def tell(config: config_dict.ConfigDict, data: source.Opened) -> None:
    """Warns of what this dataset makes of a config that could be meant otherwise."""
    num_examples = data.num_examples("train")
    if config.batch_size > num_examples / 2:
        logging.warning(
            "config.batch_size=%d is more than half of the %d training images: an "
            "epoch is %.2f steps",
            config.batch_size,
            num_examples,
            num_examples / config.batch_size,
        )
    if config.num_epochs and _is_frozen_to_the_end(config):
        logging.warning(
            "config.optimizer.frozen_backbone_epochs=%g of %d epochs: the backbone "
            "learns nothing, the head alone does",
            config.optimizer.frozen_backbone_epochs,
            config.num_epochs,
        )
    if data.max_side_px is not None and config.image_size > data.max_side_px:
        logging.warning(
            "config.image_size=%d is more than the %d px that the dataset stores of a "
            "picture's long side: pictures are enlarged; build it with --max_side=%d "
            "(or config.build.max_side) to see more of them",
            config.image_size,
            data.max_side_px,
            config.image_size,
        )
    if config.keep_best_checkpoint and not data.label_counts("validation").any():
        logging.warning(
            "config.keep_best_checkpoint keeps nothing: no validation image has a "
            "label, so that there is no mAP and no best checkpoint"
        )


def _is_frozen_to_the_end(config: config_dict.ConfigDict) -> bool:
    return config.optimizer.frozen_backbone_epochs >= config.num_epochs
