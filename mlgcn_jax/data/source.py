"""What a dataset is: the door for those that `mlgcn build` did not make.

Ours is `dataset.Dataset`. Another is a class of four members, `Source`, that a config
names; `foreign_source` adds the rest.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64

from mlgcn_jax.data import labels

SPLITS = ("train", "validation")


@runtime_checkable
class Source(Protocol):
    """Labelled pictures in two splits, read one at a time by any thread."""

    @property
    def vocabulary(self) -> labels.Vocabulary:
        """The labels; label indices count along it."""
        ...

    @property
    def fingerprint(self) -> str:
        """Text that is another one where the content is; a run knows it by that."""
        ...

    def num_examples(self, split: str) -> int:
        """Returns the number of examples of a split of `SPLITS`."""
        ...

    def examples(self, split: str) -> Sequence[Mapping[str, Any]]:
        """Returns the examples of a split, in an order that stays.

        Each has "image" (bytes of a picture file; JPEG is read fastest), "labels"
        (indices in [0, number of labels)), "id" (text) and, where several pictures are
        one work, "page" (its number, from 0).
        """
        ...


@runtime_checkable
class Opened(Source, Protocol):
    """A source with what is known of where it comes from."""

    @property
    def directory(self) -> pathlib.Path:
        """Where it lies."""
        ...

    @property
    def max_side_px(self) -> int | None:
        """The long side to which larger pictures were shrunk; None: as they were."""
        ...

    def label_counts(self, split: str) -> Int64[np.ndarray, " l"]:
        """Returns the number of examples of a split that have each label."""
        ...
