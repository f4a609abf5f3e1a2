"""A dataset built by `tfds_pixiv`, opened for random access without TensorFlow.

The version folder holds array_record shards, TFDS's own metadata and the side files
named here; `input_pipeline` makes batches of what this module reads.
"""

import functools
import hashlib
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_data_source
from jaxtyping import Int64
from tensorflow_datasets.proto import tf_example_pb2

from mlgcn_jax.data import files, labels, tables

# Written beside the shards: vocabulary, examples per label, tags that are no label,
# pictures that could not be used, settings and counts.
DATASET_FILES = (
    "labels.csv",
    "label_counts.csv",
    "dropped_tags.csv",
    "rejects.jsonl",
    "build.json",
)
# Keys of build.json that datasets of before lack, with how those were built.
_ADDED_KEYS = {"negatives": "drop"}
INCOMPLETE = "incomplete."  # how the folders of builds under way or killed begin
_TFDS_FILES = ("dataset_info.json", "features.json")


class Examples:
    """The examples of one split, read from disk one at a time, by any thread."""

    def __init__(self, records: Sequence, *, name: str):
        """Wraps serialised records; `name` says in errors which split they are."""
        self._records = records
        self._name = name

    def __len__(self) -> int:
        """Returns the number of examples."""
        return len(self._records)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yields every example, in record order."""
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns an example: JPEG bytes, sorted label indices and the metadata.

        Raises:
            IndexError: The index is not in [0, number of examples).
            ValueError: The record is damaged on disk.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"{self._name} has {len(self)} examples, not {index}")
        try:
            # The class is made at run time, where pyright does not look.
            parse = tf_example_pb2.Example.FromString  # pyright: ignore
            record = parse(self._records[index])
        except Exception as error:  # array_record raises bare RuntimeErrors
            raise ValueError(
                f"example {index} of {self._name} cannot be read ({error}); the "
                "files are damaged: copy or build the dataset anew"
            ) from error
        features = record.features.feature

        def text(name: str) -> str:
            return features[name].bytes_list.value[0].decode()

        def number(name: str) -> int:
            return features[name].int64_list.value[0]

        return {
            "image": features["image"].bytes_list.value[0],
            "labels": np.array(features["labels"].int64_list.value, np.int64),
            "id": text("id"),
            "page": number("page"),
            "tags": tuple(tag.decode() for tag in features["tags"].bytes_list.value),
            "title": text("title"),
            "user": text("user"),
            "width": number("width"),
            "height": number("height"),
        }


class Dataset:
    """An opened dataset; make it with `open_dataset`.

    Attributes:
        directory: The version folder.
        vocabulary: The labels; label indices count along it.
    """

    def __init__(self, directory: pathlib.Path, builder: tfds.core.DatasetBuilder):
        """Reads the vocabulary; the shards are opened when they are read."""
        self.directory = directory
        self.vocabulary = labels.read_vocabulary(directory / "labels.csv")
        self._builder = builder

    def num_examples(self, split: str) -> int:
        """Returns the number of examples of a split.

        Raises:
            ValueError: There is no such split.
        """
        splits = self._builder.info.splits
        if split not in splits:
            raise ValueError(f"split {split!r} is not one of {sorted(splits)}")
        return splits[split].num_examples

    def source(self, split: str) -> Examples:
        """Returns the examples of a split; images stay JPEG bytes.

        Each is a dict of "image" (bytes), "labels" (int64 array), "id", "page",
        "tags", "title", "user", "width" and "height" (of the original, in px).
        """
        self.num_examples(split)  # checks the name
        # TFDS's decorator hides the parameters from pyright.
        records = self._builder.as_data_source(
            split,  # pyright: ignore[reportCallIssue]
            # Its own reading of a record takes five times as long as that of Examples.
            deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES,
        )
        return Examples(records, name=f"{split} split of {self.directory}")

    def label_indices(self, split: str) -> Iterator[Int64[np.ndarray, " k"]]:
        """Yields the sorted label indices of every example, in record order."""
        return (example["labels"] for example in self.source(split))

    def build_record(self) -> dict[str, Any]:
        """Returns the settings and counts of the build, as in build.json."""
        return _ADDED_KEYS | files.read_json(self.directory / "build.json")

    @property
    def max_side_px(self) -> int:
        """The long side to which larger pictures were shrunk."""
        return self.build_record()["settings"]["max_side_px"]

    def label_counts(self, split: str) -> Int64[np.ndarray, " l"]:
        """Returns the number of examples of a split that have each label."""
        header = ("label", "train", "validation")
        rows = tables.read_rows(self.directory / "label_counts.csv", header)
        return np.array([row[header.index(split)] for row in rows], np.int64)

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the metadata files, by which a run knows its dataset again."""
        digest = hashlib.sha256()
        for name in _TFDS_FILES + DATASET_FILES:
            content = (self.directory / name).read_bytes()
            digest.update(f"{name} {len(content)}\n".encode() + content)
        return digest.hexdigest()


def open_dataset(data_dir: pathlib.Path) -> Dataset:
    """Opens a dataset for reading.

    Args:
        data_dir: A version folder (it has a dataset_info.json), or a folder above
            exactly one, such as the --data_dir of `mlgcn build`.

    Raises:
        FileNotFoundError: There is no dataset, or a file of it is missing.
        ValueError: There are several datasets, or the files are damaged or of a format
            without random access.
    """
    directory = _find_version_folder(pathlib.Path(data_dir))
    missing = [
        name for name in _TFDS_FILES + DATASET_FILES if not (directory / name).is_file()
    ]
    if missing:
        raise FileNotFoundError(
            f"{directory} lacks {', '.join(missing)}: it was not built by `mlgcn "
            "build`, or not copied whole"
        )
    builder = tfds.builder_from_directory(directory)
    file_format = builder.info.file_format
    if file_format != tfds.core.FileFormat.ARRAY_RECORD:
        raise ValueError(
            f"{directory} has the file format {file_format and file_format.value}, "
            "which cannot be read at random; build it with file_format=array_record"
        )
    for split in builder.info.splits.values():
        for path, length in zip(split.filepaths, split.shard_lengths, strict=True):
            _check_shard(pathlib.Path(path), length)
    return Dataset(directory, builder)


def version_folders(data_dir: pathlib.Path) -> list[pathlib.Path]:
    """Returns the datasets in a folder: itself, or name/config/version under it."""
    found: list[pathlib.Path] = []
    for depth in range(4):
        pattern = "/".join(["*"] * depth + ["dataset_info.json"])
        found += [path.parent for path in sorted(data_dir.glob(pattern))]
    return [path for path in found if not path.name.startswith(INCOMPLETE)]


def _find_version_folder(data_dir: pathlib.Path) -> pathlib.Path:
    if not data_dir.is_dir():
        raise FileNotFoundError(
            f"{data_dir} is not a folder; build a dataset with `mlgcn build`"
        )
    found = version_folders(data_dir)
    if not found:
        raise FileNotFoundError(
            f"{data_dir} holds no dataset (no dataset_info.json in it or up to three "
            "folders below); build one with `mlgcn build`"
        )
    if len(found) > 1:
        listed = "\n  ".join(str(path) for path in found)
        raise ValueError(
            f"{data_dir} holds {len(found)} datasets; name one of them:\n  {listed}"
        )
    return found[0]


def _check_shard(path: pathlib.Path, length: int) -> None:
    """Raises if the shard is not there, or is cut short."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; copy or build the dataset anew")
    try:
        found = len(array_record_data_source.ArrayRecordDataSource(str(path)))
    except RuntimeError as error:
        raise ValueError(
            f"{path} is damaged ({error}); copy or build the dataset anew"
        ) from error
    if found != length:
        raise ValueError(
            f"{path} holds {found} examples where dataset_info.json says {length}; "
            "copy or build the dataset anew"
        )
