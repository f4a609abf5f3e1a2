"""What became of every picture, and the side files that say so.

The files lie in the dataset's version folder: `labels.csv` (the vocabulary),
`label_counts.csv` (label,train,validation: examples), `dropped_tags.csv` (tag,works),
`rejects.jsonl` (pictures that could not be used), `twins.csv` (pictures that are copies
of others) and `build.json` (settings, counts).
They hold no date and no path, so that the same build gives the same bytes.
"""

import csv
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from absl import logging

from mlgcn_jax.data import files, folder_contents, labels
from tfds_pixiv import selection, twin_record


class BuildRecord:
    """Counts of a build under way.

    Attributes:
        num_examples: Split name -> number of examples so far.
        num_negatives: Number of those without a label, both splits together.
        label_counts: Split name -> number of examples of every label, [labels].
        rejects: Pictures that could not be used so far.
    """

    def __init__(
        self,
        selected: selection.Selection,
        *,
        max_reject_share: float,
        failure_path: pathlib.Path,
    ):
        """Starts with the rejects of the selection.

        Args:
            selected: The pictures that shall be encoded.
            max_reject_share: Rejects over pictures, in [0, 1], above which the build
                fails; pictures without labels do not count.
            failure_path: Where the rejects are written when the build fails.

        Raises:
            ValueError: The share is exceeded already.
        """
        self._selected = selected
        self._max_reject_share = max_reject_share
        self._failure_path = failure_path
        self.num_examples: dict[str, int] = dict.fromkeys(selection.SPLITS, 0)
        self.num_negatives = 0
        self.label_counts: dict[str, np.ndarray] = {
            split: np.zeros(len(selected.vocabulary), np.int64)
            for split in selection.SPLITS
        }
        self.rejects = list(selected.rejects)
        self._check_rejects()

    def add_example(self, split: str, label_indices: Sequence[int]) -> None:
        """Counts one example."""
        self.num_examples[split] += 1
        self.num_negatives += not label_indices
        self.label_counts[split][list(label_indices)] += 1

    def add_reject(self, reject: folder_contents.Reject) -> None:
        """Counts and logs a picture that could not be decoded.

        Raises:
            ValueError: More pictures are rejected than the build may lose.
        """
        self.rejects.append(reject)
        self._check_rejects()
        logging.warning(
            "rejected %s page %d (%s): %s",
            reject.id,
            reject.page,
            reject.file,
            reject.reason,
        )

    def _check_rejects(self) -> None:
        total = self._selected.num_pictures + len(self._selected.rejects)
        if len(self.rejects) <= self._max_reject_share * total:
            return
        _write_json_lines(self._failure_path, self.rejects)
        last = self.rejects[-1]
        raise ValueError(
            f"{len(self.rejects)} of {total} pictures are rejected, more than the "
            f"share max_reject_share={self._max_reject_share:g} allows; the last is "
            f"{last.id!r} page {last.page} ({last.file}): {last.reason}; mend the "
            "crawl folder or allow a larger share. The rejects so far are listed in "
            f"{self._failure_path}"
        )

    def write(
        self,
        directory: pathlib.Path,
        *,
        settings: dict[str, Any],
        twins: twin_record.TwinRecord,
    ) -> None:
        """Writes the side files and warns of labels that cannot be learned or tested.

        Raises:
            ValueError: All pictures of a split that have a label were rejected or left
                out.
        """
        for split, counts in self.label_counts.items():
            if not counts.any() and split == "train" and twins.num_left_out:
                raise ValueError(
                    f"the train split is empty: {twins.num_left_out} pictures are "
                    "copies of validation pictures and were left out; give a folder "
                    "with more pictures, or keep them with --twins=keep"
                )
            if not counts.any():
                raise ValueError(
                    f"the {split} split is empty: all its labelled pictures were "
                    f"rejected, e.g. for this reason: {self.rejects[-1].reason}"
                )
        vocabulary = self._selected.vocabulary
        labels.write_vocabulary(vocabulary, directory / "labels.csv")
        split_counts = [self.label_counts[split].tolist() for split in selection.SPLITS]
        _write_csv(
            directory / "label_counts.csv",
            ("label", *selection.SPLITS),
            zip(vocabulary.labels, *split_counts, strict=True),
        )
        _write_csv(
            directory / "dropped_tags.csv",
            ("tag", "works"),
            self._selected.dropped_tags,
        )
        _write_json_lines(directory / "rejects.jsonl", self.rejects)
        twin_counts = twins.write(directory)
        self._write_build_json(directory / "build.json", settings, twin_counts)
        self._failure_path.unlink(missing_ok=True)  # of an earlier, failed build

    def _write_build_json(
        self, path: pathlib.Path, settings: dict[str, Any], twin_counts: dict[str, int]
    ) -> None:
        train, validation = (self.label_counts[split] > 0 for split in selection.SPLITS)
        without_images = self._labels(~(train | validation))
        in_one_split = self._labels(train ^ validation)
        _warn("have no image", without_images)
        _warn("have images in one split only", in_one_split)
        content = {
            "settings": settings,
            **identity(self._selected),
            "implied_labels": _implied_labels(self._selected),
            "counts": {
                **self.num_examples,
                "labels": len(self._selected.vocabulary),
                "rejects": len(self.rejects),
                "negatives": self.num_negatives,
                "without_labels": self._selected.without_labels,
                "without_tags": self._selected.without_tags,
                "dropped_tags": len(self._selected.dropped_tags),
                "twins": twin_counts,
            },
            "labels_without_images": without_images,
            "labels_in_one_split": in_one_split,
        }
        text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")

    def _labels(self, mask: np.ndarray) -> list[str]:
        return [self._selected.vocabulary.labels[i] for i in np.flatnonzero(mask)]


def identity(selected: selection.Selection) -> dict[str, str]:
    """Returns what a built dataset is known by: checksums, and the choice made."""
    content: Any = dataclasses.astuple(selected.vocabulary)
    if implied := _implied_labels(selected):
        content = [content, implied]
    vocabulary_bytes = json.dumps(content).encode()
    return {
        "source_sha256": selected.source_sha256,
        "vocabulary_sha256": hashlib.sha256(vocabulary_bytes).hexdigest(),
        "negatives": selected.negatives,
    }


def _implied_labels(selected: selection.Selection) -> dict[str, list[str]]:
    """Returns label -> all labels that it implies; empty where none does."""
    names = selected.vocabulary.labels
    return {
        names[label]: [names[index] for index in sorted(implied)]
        for label, implied in sorted(selected.implied_labels.items())
    }


def _warn(what: str, names: Sequence[str]) -> None:
    if names:
        first = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
        logging.warning("%d labels %s: %s", len(names), what, first)


def _write_csv(
    path: pathlib.Path, header: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _write_json_lines(
    path: pathlib.Path, rejects: Iterable[folder_contents.Reject]
) -> None:
    with files.written_whole(path) as temporary:
        with temporary.open("w", encoding="utf-8") as file:
            for reject in rejects:
                line = json.dumps(dataclasses.asdict(reject), ensure_ascii=False)
                file.write(line + "\n")
