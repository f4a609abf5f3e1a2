"""Passes over the training split, counted in steps.

A batch may hold the end of one pass and the start of the next, so a pass need not end
with a step. All is counted in images, which are whole numbers.
"""

import math
from typing import NamedTuple


class Epochs(NamedTuple):
    """How steps and epochs of a run go together; an epoch is one pass.

    Attributes:
        num_examples: images of a pass, at least 1.
        batch_size: images of a step, at least 1.
    """

    num_examples: int
    batch_size: int

    @property
    def steps_per_epoch(self) -> float:
        """Steps of a pass, a fraction unless its images fill whole batches."""
        return self.num_examples / self.batch_size

    def first_step(self, num_epochs: int) -> int:
        """Returns the first step by which so many passes are done."""
        return -(-num_epochs * self.num_examples // self.batch_size)

    def is_due(self, step: int, *, every: int) -> bool:
        """Whether a step ends a multiple of `every` passes; the first by which it has.

        Args:
            step: counts from 1.
            every: passes, at least 1.
        """
        images = every * self.num_examples
        before, after = (step - 1) * self.batch_size, step * self.batch_size
        return before // images < after // images


def format_epoch(step: int, steps_per_epoch: float | int) -> str:
    """Returns the passes done, in tenths that are cut: "10.0" after ten, not before."""
    tenths = math.floor(10 * step / steps_per_epoch + 1e-6)  # of what floats lose
    return f"{tenths / 10:.1f}"
