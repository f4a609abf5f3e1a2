"""Optimisers by name: Adam as the paper uses it, and what training on own data needs.

Weight decay is decoupled in all of them (Loshchilov and Hutter, arXiv:1711.05101).
"""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mlgcn_jax.data import config_dict
from mlgcn_jax.data.options import Option


class Kind(NamedTuple):
    """An optimiser that can be chosen.

    Attributes:
        before_decay: takes the options as keywords; gradient -> direction.
        options: what can be set, with defaults.
        after_decay: what happens to the direction with the weights' decay in it; None:
            nothing, and checkpoints have no state of it.
    """

    before_decay: Callable[..., optax.GradientTransformation]
    options: Mapping[str, Option]
    after_decay: Callable[[], optax.GradientTransformation] | None = None


_OF_ADAM = {
    "b1": Option(0.9, "decay of the mean of gradients", 0, 1 - 2.0**-24),
    "b2": Option(0.999, "decay of the mean of their squares", 0, 1 - 2.0**-24),
    "eps": Option(1e-8, "beside the root of that mean", 0, 1),
}

# Add an optimiser by adding a line.
OPTIMIZERS: dict[str, Kind] = {
    # Kingma and Ba, arXiv:1412.6980.
    "adam": Kind(optax.scale_by_adam, _OF_ADAM),
    "adamw": Kind(optax.scale_by_adam, _OF_ADAM),  # by its other name
    # You et al., arXiv:1904.00962: for batches of thousands.
    "lamb": Kind(
        optax.scale_by_adam,
        _OF_ADAM | {"eps": Option(1e-6, "beside the root of that mean", 0, 1)},
        optax.scale_by_trust_ratio,
    ),
    "sgd": Kind(
        optax.trace,
        {
            "decay": Option(0.9, "momentum", 0, 1 - 2.0**-24),
            "nesterov": Option(False, "look ahead by the momentum"),
        },
    ),
}


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
    """Returns the optimiser that `config.optimizer` describes.

    Weight decay reaches convolution and matrix kernels alone: never norms, biases or
    label embeddings. Backbone, head and what matches a pattern may learn at rates of
    their own. While the
    backbone is frozen its gradient is still computed, so that Adam's moments are right
    when it thaws, and its batch statistics are still followed.

    Raises:
        ValueError: a pattern is none.
    """
    options = config.optimizer
    transforms = []
    if options.clip_norm:
        transforms.append(optax.clip_by_global_norm(options.clip_norm))
    kind = OPTIMIZERS[options.name]
    transforms.append(kind.before_decay(**options[options.name]))
    if options.weight_decay:
        transforms.append(
            optax.add_decayed_weights(options.weight_decay, mask=_is_kernel)
        )
    if kind.after_decay is not None:
        transforms.append(kind.after_decay())
    for part in ("backbone", "head"):
        factor = options[f"{part}_learning_rate_factor"]
        if factor != 1.0:
            transforms.append(optax.masked(optax.scale(factor), _is_part(part)))
    if options.learning_rate_factors:
        factors = [_read_factor(text) for text in options.learning_rate_factors]
        transforms.append(optax.stateless(functools.partial(_scale, factors)))
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


def _read_factor(text: str) -> tuple[re.Pattern[str], float]:
    """Returns a pattern of names and its factor, of PATTERN=FACTOR."""
    pattern, _, factor = text.rpartition("=")
    try:
        if not pattern or not float(factor) >= 0:
            raise ValueError("there is no pattern, or no factor of at least 0")
        return re.compile(pattern), float(factor)
    except (ValueError, re.error) as error:
        raise ValueError(
            f"config.optimizer.learning_rate_factors has {text!r}, expected "
            f"PATTERN=FACTOR, a regular expression and a number ({error})"
        ) from error


def _scale(
    factors: Sequence[tuple[re.Pattern[str], float]], updates: Any, params: Any
) -> Any:
    """Returns the updates times the factors of all patterns that their names match."""
    del params

    def scaled(path: Any, update: jax.Array) -> jax.Array:
        name = "/".join(str(part.key) for part in path)
        for pattern, factor in factors:
            if pattern.search(name):
                update = factor * update
        return update

    return jax.tree.map_with_path(scaled, updates)


def _is_kernel(params: dict[str, Any]) -> dict[str, Any]:
    return jax.tree.map_with_path(lambda path, _: path[-1].key == "kernel", params)


def _is_part(part: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def mask(params: dict[str, Any]) -> dict[str, Any]:
        return {
            name: jax.tree.map(lambda _, is_part=name == part: is_part, subtree)
            for name, subtree in params.items()
        }

    return mask
