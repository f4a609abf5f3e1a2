"""Numbers of a config that are out of range: told before any work is done."""

import math
import operator

from mlgcn_jax.data import config_dict

_AT_LEAST = {
    "seed": 0,
    "num_epochs": 0,
    "batch_size": 1,
    "accumulation_steps": 1,
    "label_shards": 1,
    "image_size": 1,
    "num_threads": 1,
    "model.hidden_features": 1,
    "optimizer.warmup_epochs": 0,
    "optimizer.frozen_backbone_epochs": 0,
    "optimizer.backbone_learning_rate_factor": 0,
    "optimizer.head_learning_rate_factor": 0,
    "optimizer.clip_norm": 0,
    "optimizer.weight_decay": 0,
    "checkpoint_every_epochs": 1,
    "keep_checkpoints": 1,
    "evaluate_every_epochs": 1,
    "log_every_steps": 1,
    "stuck_after_s": 0,
}


def check(config: config_dict.ConfigDict) -> None:
    """Checks the numbers that no other module checks, and that a dataset is named.

    Raises:
        ValueError: one is out of its range; the message has the range.
    """
    if not config.data_dir:
        raise ValueError(
            "config.data_dir is not set; give --config.data_dir=DIR, what "
            "`mlgcn build --data_dir=DIR` wrote"
        )
    check_numbers(config)


def check_numbers(config: config_dict.ConfigDict) -> None:
    """Checks the numbers that no other module checks.

    Raises:
        ValueError: one is out of its range; the message has the range.
    """
    for key, smallest in _AT_LEAST.items():
        value = operator.attrgetter(key)(config)
        if not smallest <= value < math.inf:  # not: NaN fails too
            raise ValueError(f"config.{key}={value} must be at least {smallest}")
    if config.seed >= 2**32:
        raise ValueError(f"config.seed={config.seed} must be less than 2**32")
    if not 0 < config.optimizer.learning_rate < math.inf:
        raise ValueError(
            f"config.optimizer.learning_rate={config.optimizer.learning_rate} must be "
            "more than 0"
        )
    if not 0 <= config.optimizer.ema_decay < 1:
        raise ValueError(
            f"config.optimizer.ema_decay={config.optimizer.ema_decay} must be at least "
            "0 (no average is kept) and less than 1"
        )
