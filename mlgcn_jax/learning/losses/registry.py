"""The one registry: names in a config -> losses and their options."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Integer

from mlgcn_jax.data import foreign_code
from mlgcn_jax.data import options as data_options
from mlgcn_jax.learning.losses import (
    asymmetric,
    contract,
    cross_entropy,
    distribution_balanced,
    focal,
    foreign,
    hill,
    splc,
    weighted,
    zlpr,
)


class Kind(NamedTuple):
    """A loss that can be chosen.

    Attributes:
        create: takes every option as a keyword; returns the loss.
        options: what can be set, with defaults.
        needs_counts: `create` takes `counts` and `num_examples` too.
    """

    create: Callable[..., contract.Loss]
    options: Mapping[str, data_options.Option]
    needs_counts: bool = False


# Add a loss by adding a line.
LOSSES: dict[str, Kind] = {
    "sigmoid_cross_entropy": Kind(cross_entropy.create, cross_entropy.OPTIONS),
    "weighted": Kind(weighted.create, weighted.OPTIONS, needs_counts=True),
    "focal": Kind(focal.create, focal.OPTIONS),
    "asymmetric": Kind(asymmetric.create, asymmetric.OPTIONS),
    "hill": Kind(hill.create, hill.OPTIONS),
    "splc": Kind(splc.create, splc.OPTIONS),
    "zlpr": Kind(zlpr.create, zlpr.OPTIONS),
    "distribution_balanced": Kind(
        distribution_balanced.create, distribution_balanced.OPTIONS, needs_counts=True
    ),
}


def create(
    name: str,
    options: Mapping[str, Any],
    *,
    counts: Integer[np.ndarray, " l"],
    num_examples: int,
) -> contract.Loss:
    """Returns the loss of that name.

    Args:
        name: of `LOSSES`, or `package.module:function` (`foreign`).
        options: what is not to be as its default.
        counts: how many training images have each label; most losses use their number
            alone.
        num_examples: N, images of the training split.

    Raises:
        ValueError: there is no such loss or option, or an option is out of its range;
            the message has those that there are.
    """
    if foreign_code.is_foreign(name):
        return foreign.load(name, options, num_labels=len(counts))
    if name not in LOSSES:
        raise ValueError(
            f"loss {name!r} is not known; use one of {sorted(LOSSES)}, or "
            "package.module:function for one of your own"
        )
    kind = LOSSES[name]
    dataset = {}
    if kind.needs_counts:
        dataset = {"counts": counts, "num_examples": num_examples}
    return kind.create(**dataset, **complete_options(name, options))


def complete_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns all options of a loss of `LOSSES`, defaults where none are given.

    Raises:
        ValueError: the loss has no such option, or one is out of its range.
    """
    try:
        return data_options.resolve(LOSSES[name].options, options)
    except ValueError as error:
        raise ValueError(f"loss {name!r}: {error}") from error
