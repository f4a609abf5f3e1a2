"""What a loss is, and what an option of one is.

A loss is called as `loss(logits, labels, weights, epoch)` and returns the loss of each
image of the batch in float32; the train step takes the mean over images.

* logits: of any floating type.
* labels: 1 present, 0 absent, between them how much of a label is there (of mixed
  pictures). Below 0: unknown, which adds nothing to the loss and has no gradient.
* weights: factor of each entry, at least 0; None: all are 1.
* epoch: passes over the training split that are done, step / steps_per_epoch: a scalar,
  which may be a fraction and may be traced.
"""

from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Array, Float

Epoch = Float[Array, ""] | float
Loss = Callable[
    [Float[Array, "b l"], Float[Array, "b l"], Float[Array, "b l"] | None, Epoch],
    Float[Array, " b"],
]


class Option(NamedTuple):
    """A number, or a yes or no, that a loss takes beside logits and labels.

    Attributes:
        name: keyword of the loss's `create`, and of the config.
        default: its type is that of the option: float or bool.
        meaning: one line, with the symbol of the source.
        smallest: of a number; both ends are allowed.
        largest: of a number.
    """

    name: str
    default: float | bool
    meaning: str
    smallest: float = 0.0
    largest: float = 1.0
