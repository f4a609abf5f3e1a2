"""Batches of a dataset, read, decoded and letterboxed by threads (grain).

Training never ends and its position in the data is the step number alone; evaluation
gives every example exactly once, in batches of one shape. Threads and not processes:
decoding gives up the interpreter lock, and no shared memory can leak.
"""

from collections.abc import Sequence
from typing import Any

import grain
import numpy as np
from jaxtyping import Float32

from mlgcn_jax.data import dataset, images

_BATCHES_AHEAD = 2  # for every thread


def train_batches(
    data: dataset.Dataset,
    *,
    image_size: int,
    batch_size: int,
    seed: int,
    start_step: int,
    num_threads: int,
) -> grain.DatasetIterator[dict[str, np.ndarray]]:
    """Returns an endless iterator over batches of the training split.

    Every epoch has its own order and holds each example once. Epochs follow one
    another without a gap, so a batch may hold the end of one and the start of the
    next. The batch of a step depends on the seed and the step only: not on the number
    of threads, nor on where the iterator started.

    Args:
        data: The dataset.
        image_size: Side of the square images, in px.
        batch_size: Examples of a batch, at most the size of the split.
        seed: Decides the order, in [0, 2^32).
        start_step: Number of batches to pass over (without reading them).
        num_threads: Batches that are made at the same time; 0 makes each on demand.

    Returns:
        An iterator of {"image": UInt8 [b, h, w, 3], "labels": Float32 [b, l],
        multi-hot}. Call its `close()` to end its threads.

    Raises:
        ValueError: An argument is out of range; while iterating: an example is damaged.
    """
    num_examples = data.num_examples("train")
    _check_at_least(1, batch_size=batch_size, image_size=image_size)
    _check_at_least(0, start_step=start_step, num_threads=num_threads)
    if batch_size > num_examples:
        raise ValueError(
            f"batch_size={batch_size} is larger than the train split with its "
            f"{num_examples} examples; use a smaller batch or more data"
        )
    num_labels = len(data.vocabulary)

    def make_batch(examples: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
        return {
            "image": np.stack([example["image"] for example in examples]),
            "labels": multi_hot(
                [example["labels"] for example in examples], num_labels
            ),
        }

    batches = (
        grain.MapDataset.source(data.source("train"))
        .seed(seed)
        .shuffle()
        .repeat()
        .map(lambda example: _decode(example, image_size))
        .batch(batch_size, batch_fn=make_batch)
    )
    return iter(_read_ahead(batches[start_step:], num_threads))


def evaluation_batches(
    data: dataset.Dataset,
    split: str,
    *,
    image_size: int,
    batch_size: int,
    num_threads: int,
) -> grain.DatasetIterator[dict[str, np.ndarray]]:
    """Returns an iterator over batches with every example of a split once, in order.

    All batches have the same shape: the last is filled up with black images without
    labels, for which the mask is False.

    Args:
        data: The dataset.
        split: "train" or "validation".
        image_size: Side of the square images, in px.
        batch_size: Examples of a batch; may be larger than the split.
        num_threads: Batches that are made at the same time; 0 makes each on demand.

    Returns:
        An iterator of {"image": UInt8 [b, h, w, 3], "labels": Float32 [b, l],
        multi-hot, "mask": Bool [b], "id": str [b], "page": Int64 [b]}. Call its
        `close()` to end its threads.

    Raises:
        ValueError: An argument is out of range; while iterating: an example is damaged.
    """
    _check_at_least(1, batch_size=batch_size, image_size=image_size)
    _check_at_least(0, num_threads=num_threads)
    num_labels = len(data.vocabulary)
    padding = {
        "image": np.zeros((image_size, image_size, 3), np.uint8),
        "labels": np.zeros(0, np.int64),
        "id": "",
        "page": -1,
    }

    def make_batch(examples: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
        padded = [*examples, *[padding] * (batch_size - len(examples))]
        return {
            "image": np.stack([example["image"] for example in padded]),
            "labels": multi_hot([example["labels"] for example in padded], num_labels),
            "mask": np.arange(batch_size) < len(examples),
            "id": np.array([example["id"] for example in padded]),
            "page": np.array([example["page"] for example in padded]),
        }

    batches = (
        grain.MapDataset.source(data.source(split))
        .map(lambda example: _decode(example, image_size))
        .batch(batch_size, batch_fn=make_batch)
    )
    return iter(_read_ahead(batches, num_threads))


def multi_hot(
    label_indices: Sequence[Sequence[int] | np.ndarray], num_labels: int
) -> Float32[np.ndarray, "b l"]:
    """Returns 1 where an example has a label, else 0."""
    targets = np.zeros((len(label_indices), num_labels), np.float32)
    for row, indices in zip(targets, label_indices, strict=True):
        row[indices] = 1
    return targets


def _read_ahead(batches: grain.MapDataset, num_threads: int) -> grain.IterDataset:
    # grain's default of 500 would be 500 batches here: gigabytes.
    options = grain.ReadOptions(
        num_threads=num_threads, prefetch_buffer_size=_BATCHES_AHEAD * num_threads
    )
    return batches.to_iter_dataset(options)


def _decode(example: dict[str, Any], image_size: int) -> dict[str, Any]:
    try:
        image = images.load_rgb(example["image"])
    except images.ImageError as error:
        raise ValueError(
            f"the image of example {example['id']} page {example['page']} cannot be "
            f"decoded ({error}); copy or build the dataset anew"
        ) from error
    return {
        "image": images.letterbox(image, image_size),
        "labels": example["labels"],
        "id": example["id"],
        "page": example["page"],
    }


def _check_at_least(minimum: int, **arguments: int) -> None:
    for name, value in arguments.items():
        if value < minimum:
            raise ValueError(f"{name}={value} must be at least {minimum}")
