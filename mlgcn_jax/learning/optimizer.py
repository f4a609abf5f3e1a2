"""Adam as the paper uses it, with the options that training on own data needs."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mlgcn_jax.data import config_dict


def create_schedule(
    config: config_dict.ConfigDict, *, steps_per_epoch: float | int, num_steps: int
) -> optax.Schedule:
    """Returns step -> learning rate of the head, from `config.optimizer`.

    Raises:
        ValueError: the schedule is not known, or its warm-up fills the whole run.
    """
    peak = config.optimizer.learning_rate
    if config.optimizer.schedule == "constant":
        return optax.constant_schedule(peak)
    if config.optimizer.schedule == "warmup_cosine":
        warmup_steps = round(config.optimizer.warmup_epochs * steps_per_epoch)
        if warmup_steps >= num_steps:
            raise ValueError(
                f"config.optimizer.warmup_epochs={config.optimizer.warmup_epochs} "
                f"({warmup_steps} steps) fills the whole run of {num_steps} steps; "
                "use fewer, or more config.num_epochs"
            )
        return optax.warmup_cosine_decay_schedule(
            0.0, peak, warmup_steps, num_steps, end_value=0.0
        )
    raise ValueError(
        f"config.optimizer.schedule={config.optimizer.schedule!r} is not known; "
        "use 'constant' or 'warmup_cosine'"
    )


def create_optimizer(
    config: config_dict.ConfigDict,
    schedule: optax.Schedule,
    *,
    steps_per_epoch: float | int,
) -> optax.GradientTransformation:
    """Returns Adam (Kingma and Ba) with decoupled weight decay, if any.

    Weight decay reaches convolution and matrix kernels alone: never norms, biases or
    label embeddings. Backbone and head may learn at rates of their own. While the
    backbone is frozen its gradient is still computed, so that Adam's moments are right
    when it thaws, and its batch statistics are still followed.
    """
    options = config.optimizer
    transforms = []
    if options.clip_norm:
        transforms.append(optax.clip_by_global_norm(options.clip_norm))
    transforms.append(optax.scale_by_adam())
    if options.weight_decay:
        transforms.append(
            optax.add_decayed_weights(options.weight_decay, mask=_is_kernel)
        )
    for part in ("backbone", "head"):
        factor = options[f"{part}_learning_rate_factor"]
        if factor != 1.0:
            transforms.append(optax.masked(optax.scale(factor), _is_part(part)))
    frozen_steps = min(
        round(options.frozen_backbone_epochs * steps_per_epoch), 2**31 - 1
    )
    if frozen_steps:
        thaw = optax.scale_by_schedule(
            lambda step: jnp.where(step < frozen_steps, 0, 1)
        )
        transforms.append(optax.masked(thaw, _is_part("backbone")))
    transforms.append(optax.scale_by_learning_rate(schedule))
    return optax.chain(*transforms)


def _is_kernel(params: dict[str, Any]) -> dict[str, Any]:
    return jax.tree.map_with_path(lambda path, _: path[-1].key == "kernel", params)


def _is_part(part: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def mask(params: dict[str, Any]) -> dict[str, Any]:
        return {
            name: jax.tree.map(lambda _, is_part=name == part: is_part, subtree)
            for name, subtree in params.items()
        }

    return mask
