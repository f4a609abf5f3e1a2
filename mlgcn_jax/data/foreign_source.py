"""A dataset of others: `package.module:Class`, checked where it is opened and read."""

import operator
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64

from mlgcn_jax.data import foreign_code, labels, source

_MEMBERS = ("vocabulary", "fingerprint", "num_examples", "examples")
_EXAMPLE = "an example has image (bytes), labels (indices), id and perhaps page"


class ForeignSource:
    """A `source.Source` of others with what ours knows besides.

    Attributes:
        directory: What the class was given.
        vocabulary: The labels.
        fingerprint: As the class says it.
        max_side_px: None: its pictures are read as they are.
    """

    max_side_px = None

    def __init__(self, name: str, directory: pathlib.Path):
        """Makes the class `package.module:Class` with a folder, which it may ignore.

        Raises:
            ValueError: It does not import, fails, or is no source; the message says in
                what, the error of the foreign code is its cause.
        """
        self._name = f"dataset {name!r}"
        self.directory = directory
        make = foreign_code.find(name, self._name)
        with foreign_code.refused(self._name, f"where it is opened in {directory}"):
            made = make(directory)
            lacking = [member for member in _MEMBERS if not hasattr(made, member)]
        if lacking:
            raise ValueError(
                f"{self._name} lacks {', '.join(lacking)}; a source has "
                f"{', '.join(_MEMBERS)} (mlgcn_jax/data/source.py)"
            )
        self._made: source.Source = made
        with foreign_code.refused(self._name, "where it is asked what it is"):
            self.vocabulary, self.fingerprint = made.vocabulary, made.fingerprint
        if not isinstance(self.vocabulary, labels.Vocabulary) or not self.vocabulary:
            raise ValueError(
                f"{self._name} has the vocabulary {self.vocabulary!r}, expected a "
                "labels.Vocabulary with a label at least"
            )
        if not isinstance(self.fingerprint, str) or not self.fingerprint:
            raise ValueError(
                f"{self._name} has the fingerprint {self.fingerprint!r}, expected text "
                "that changes with the content"
            )
        self._splits = {split: self._open(split) for split in source.SPLITS}
        self._label_counts: dict[str, Int64[np.ndarray, " l"]] = {}

    def _open(self, split: str) -> "_Examples":
        with foreign_code.refused(self._name, f"where its {split} split is opened"):
            count = operator.index(self._made.num_examples(split))
            examples = self._made.examples(split)
            found = len(examples)
        if count != found or not count:
            raise ValueError(
                f"{self._name}: num_examples({split!r}) is {count} and examples"
                f"({split!r}) has {found}; expected the same number, 1 at least"
            )
        return _Examples(
            examples,
            name=f"the {split} split of {self._name}",
            num_labels=len(self.vocabulary),
        )

    def num_examples(self, split: str) -> int:
        """Returns the number of examples of a split.

        Raises:
            ValueError: There is no such split.
        """
        return len(self.examples(split))

    def examples(self, split: str) -> "_Examples":
        """Returns the examples of a split, as `source.Source` has them.

        Each is checked when it is read.

        Raises:
            ValueError: There is no such split.
        """
        if split not in self._splits:
            raise ValueError(f"split {split!r} is not one of {sorted(self._splits)}")
        return self._splits[split]

    def label_counts(self, split: str) -> Int64[np.ndarray, " l"]:
        """Returns the number of examples of a split that have each label.

        The first call for a split reads all of it.

        Raises:
            ValueError: There is no such split, or an example is wrong.
        """
        if split not in self._label_counts:
            counts = np.zeros(len(self.vocabulary), np.int64)
            for example in self.examples(split):
                counts[example["labels"]] += 1
            self._label_counts[split] = counts
        return self._label_counts[split]


class _Examples(Sequence[dict[str, Any]]):
    """The examples of a split, each checked when it is read."""

    def __init__(
        self, examples: Sequence[Mapping[str, Any]], *, name: str, num_labels: int
    ):
        self._examples = examples
        self._name = name
        self._num_labels = num_labels

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> dict[str, Any]:  # pyright: ignore
        if not 0 <= index < len(self):
            raise IndexError(f"{self._name} has {len(self)} examples, not {index}")
        named = f"example {index} of {self._name}"
        with foreign_code.refused(named, "where it is read", advice=_EXAMPLE):
            found = self._examples[index]
            image, id = found["image"], str(found["id"])
            page = operator.index(found.get("page", 0))
            indices = sorted({operator.index(label) for label in found["labels"]})
        if not isinstance(image, bytes):
            raise ValueError(
                f"{named} has an image of type {type(image).__name__}, expected bytes "
                "of a picture file"
            )
        if wrong := [i for i in indices if not 0 <= i < self._num_labels]:
            raise ValueError(
                f"{named} has label index {wrong[0]}; expected one from 0 to "
                f"{self._num_labels - 1}"
            )
        labels = np.array(indices, np.int64)
        return {"image": image, "labels": labels, "id": id, "page": page}
