"""Numbers of a config that are out of range: told before any work is done."""

import operator

from mlgcn_jax.data import config_dict

_INT32 = 2**31 - 1  # what counts on a device has this type
_FLOAT32 = 3.4e38  # nearly the largest of the type that numbers have there

# Whole numbers: key -> the smallest and the largest.
_COUNTS = {
    "seed": (0, 2**32 - 1),
    "num_epochs": (0, _INT32),
    "batch_size": (1, _INT32),
    "accumulation_steps": (1, _INT32),
    "label_shards": (1, _INT32),
    "image_size": (1, 2**14),
    "num_threads": (1, 256),  # each a thread with batches of its own
    "model.hidden_features": (1, 2**16),
    "graph.embedding_dim": (1, 2**16),
    "checkpoint_every_epochs": (1, _INT32),
    "keep_checkpoints": (1, _INT32),
    "keep_every_epochs": (0, _INT32),
    "evaluate_every_epochs": (1, _INT32),
    "log_every_steps": (1, _INT32),
}
# Other numbers, likewise.
_AMOUNTS = {
    "optimizer.warmup_epochs": (0, 10**6),
    "optimizer.frozen_backbone_epochs": (0, 10**6),
    "optimizer.backbone_learning_rate_factor": (0, _FLOAT32),
    "optimizer.head_learning_rate_factor": (0, _FLOAT32),
    "optimizer.clip_norm": (0, _FLOAT32),
    "optimizer.weight_decay": (0, _FLOAT32),
    "stuck_after_s": (0, _INT32),
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
    for key, (smallest, largest) in (_COUNTS | _AMOUNTS).items():
        value = operator.attrgetter(key)(config)
        if key in _COUNTS and not isinstance(value, int):
            raise ValueError(f"config.{key}={value} must be a whole number")
        if not value >= smallest:  # not <: NaN fails too
            raise ValueError(f"config.{key}={value} must be at least {smallest}")
        if value > largest:
            raise ValueError(f"config.{key}={value} must be at most {largest}")
    # Less is 0 on a device.
    if not 2**-126 <= config.optimizer.learning_rate <= _FLOAT32:
        raise ValueError(
            f"config.optimizer.learning_rate={config.optimizer.learning_rate} must be "
            f"more than 0, and at most {_FLOAT32}"
        )
    if not 0 <= config.optimizer.ema_decay < 1:
        raise ValueError(
            f"config.optimizer.ema_decay={config.optimizer.ema_decay} must be at least "
            "0 (no average is kept) and less than 1"
        )
