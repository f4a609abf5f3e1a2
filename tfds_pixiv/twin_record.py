"""Which pictures of a build are copies of others, and what becomes of them.

A training picture that is a twin of a validation picture would have the model tested on
what it has seen: it is left out, or only counted. `twins.csv` beside the dataset lists
every copy with the picture that it is a copy of.
"""

import csv
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Shaped

from mlgcn_jax.data import folder_contents
from tfds_pixiv import fingerprints, twin_index

Policy = Literal["drop", "keep"]
POLICIES: tuple[Policy, ...] = get_args(Policy)

_COLUMNS = ("file", "id", "page", "split")
_HEADER = (*_COLUMNS, *(f"twin_{name}" for name in _COLUMNS), "difference", "kept")


class TwinRecord:
    """The fingerprints of a build under way.

    The whole validation split has to be added before the training split, and the
    pictures of each in record order.
    """

    def __init__(self, num_pictures: Mapping[str, int], policy: Policy):
        """Makes room.

        Args:
            num_pictures: Split name -> number of pictures that may be added.
            policy: What becomes of training pictures with a twin in validation.
        """
        self._policy = policy
        # The memory of these is not taken before it is written to.
        self._rooms = {
            split: np.zeros(number, fingerprints.FINGERPRINT)
            for split, number in num_pictures.items()
        }
        self._pictures: dict[str, list[folder_contents.Picture]] = {
            split: [] for split in num_pictures
        }
        self._rows: list[tuple[str | int, ...]] = []
        self._num_across = 0

    @property
    def num_left_out(self) -> int:
        """Training pictures that were left out so far."""
        return self._num_across if self._policy == "drop" else 0

    def add(
        self,
        split: str,
        pictures: Sequence[folder_contents.Picture],
        prints: Shaped[np.ndarray, " n"],
    ) -> Bool[np.ndarray, " n"]:
        """Adds pictures; returns which of them the dataset shall have."""
        is_twin = np.zeros(len(pictures), np.bool_)
        if split == "train":
            twins, differences = self._validation_index.find(prints)
            is_twin = twins >= 0
            for place in np.flatnonzero(is_twin).tolist():
                twin = self._pictures["validation"][twins[place]]
                self._list_twin(
                    (pictures[place], "train"), (twin, "validation"), differences[place]
                )
            self._num_across += int(is_twin.sum())
        # A twin across the splits does not count within its own as well.
        begin = len(self._pictures[split])
        others = np.flatnonzero(~is_twin).tolist()
        self._rooms[split][begin : begin + len(others)] = prints[others]
        self._pictures[split] += [pictures[place] for place in others]
        return ~is_twin if self._policy == "drop" else np.ones(len(pictures), np.bool_)

    def write(self, directory: pathlib.Path) -> dict[str, int]:
        """Finds the twins within each split and writes twins.csv; returns the counts.

        They are `train_validation` (training pictures with a twin in validation), and
        for each split the pictures with a twin that comes before them.
        """
        counts = {"train_validation": self._num_across}
        for split in self._rooms:
            index = (
                self._validation_index if split == "validation" else self._index(split)
            )
            twins, differences = index.find_earlier()
            known = self._pictures[split]
            for place in np.flatnonzero(twins >= 0).tolist():
                self._list_twin(
                    (known[place], split),
                    (known[twins[place]], split),
                    differences[place],
                )
            counts[split] = int((twins >= 0).sum())
        path = directory / "twins.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(_HEADER)
            writer.writerows(self._rows)
        return counts

    @functools.cached_property
    def _validation_index(self) -> twin_index.TwinIndex:
        return self._index("validation")

    def _index(self, split: str) -> twin_index.TwinIndex:
        return twin_index.TwinIndex(self._rooms[split][: len(self._pictures[split])])

    def _list_twin(
        self,
        copy: tuple[folder_contents.Picture, str],
        twin: tuple[folder_contents.Picture, str],
        difference: float,
    ) -> None:
        columns: list[str | int] = []
        for picture, split in (copy, twin):
            columns += [picture.path.name, picture.id, picture.page, split]
        is_kept = self._policy == "keep" or copy[1] == twin[1]
        self._rows.append((*columns, f"{difference:.4f}", "yes" if is_kept else "no"))
