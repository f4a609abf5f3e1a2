"""What a loss is.

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

from jaxtyping import Array, Float

Epoch = Float[Array, ""] | float
Loss = Callable[
    [Float[Array, "b l"], Float[Array, "b l"], Float[Array, "b l"] | None, Epoch],
    Float[Array, " b"],
]
