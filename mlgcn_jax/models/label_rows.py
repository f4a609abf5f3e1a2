"""A linear head of other labels: its rows for those that have the same name as ours."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mlgcn_jax.data import labels


class Rows(NamedTuple):
    """A linear head for our labels.

    Attributes:
        weight: rows of the other head where it has the label, else our own.
        bias: likewise.
        names: our labels that the other head has.
    """

    weight: Float[np.ndarray, "l d"]
    bias: Float[np.ndarray, " l"]
    names: list[str]


def take(
    weight: Float[np.ndarray, "l d"],
    bias: Float[np.ndarray, " l"],
    names: Sequence[str],
    *,
    other_weight: Float[np.ndarray, "l2 d"],
    other_bias: Float[np.ndarray, " l2"],
    other_names: Sequence[str],
) -> Rows:
    """Returns our head with the rows of another one for the labels that both have.

    Names are compared as tags are: case, spaces and underscores play no part. Where
    the other head has a name twice, its first row is taken.

    Args:
        weight: ours, as initialised.
        bias: ours, as initialised.
        names: of our labels.
        other_weight: theirs.
        other_bias: theirs.
        other_names: of their labels.
    """
    row_of: dict[str, int] = {}
    for row, name in enumerate(other_names):
        row_of.setdefault(labels.normalize_tag(name), row)
    row_of.pop("", None)  # a pure number: nothing is left of it
    both = [
        (ours, row_of[key])
        for ours, name in enumerate(names)
        if (key := labels.normalize_tag(name)) in row_of
    ]
    weight, bias = weight.copy(), bias.copy()
    for ours, theirs in both:
        weight[ours], bias[ours] = other_weight[theirs], other_bias[theirs]
    return Rows(weight, bias, [names[ours] for ours, _ in both])
