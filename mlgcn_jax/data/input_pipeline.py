"""Batches of a dataset, read, decoded and letterboxed by threads (grain).

Training never ends and its position in the data is the step number alone; evaluation
gives every example exactly once, in batches of one shape. Threads and not processes:
decoding gives up the interpreter lock, and no shared memory can leak.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import grain
import numpy as np
from jaxtyping import Float32, UInt8

from mlgcn_jax.data import batch_memory, crops, images, letterboxes, source, stored_jpeg

_BATCHES_AHEAD = 2  # for every thread
_ENDLESS = 2**62  # examples; more and grain's counting of small batches overflows


def train_batches(
    data: source.Source,
    *,
    image_size: int,
    batch_size: int,
    seed: int,
    start_step: int,
    num_threads: int,
    rows: slice = slice(None),
    choose_crop: crops.ChooseCrop = crops.whole_picture,
    pad_colour: str = "black",
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
        rows: What is wanted of each batch: where several processes share it, each
            reads its own rows and nothing else.
        choose_crop: How the picture of each example is read, see `crops.create`. Its
            position is step * batch_size + row.
        pad_colour: Of the border, one of `letterboxes.PAD_COLOURS`.

    Returns:
        An iterator of {"image": UInt8 [b, h, w, 3], "labels": Float32 [b, l],
        multi-hot, "size": Int32 [b, 2], height and width of what is picture and not
        border}, b being the rows that are wanted. Call its `close()` to end its
        threads.

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
    letterboxes.check_pad_colour(pad_colour)
    read = _BatchReader(
        data,
        "train",
        image_size=image_size,
        batch_size=len(range(batch_size)[rows]),
        pad_colour=pad_colour,
    )

    def make_batch(step: int, indices: Sequence[int]) -> dict[str, np.ndarray]:
        positions = range(step * batch_size, (step + 1) * batch_size)[rows]
        chosen = [choose_crop(seed, position) for position in positions]
        batch = read(indices[rows], chosen)
        return {name: batch[name] for name in ("image", "labels", "size")}

    batches = (
        grain.MapDataset.range(num_examples)
        .seed(seed)
        .shuffle()
        .repeat(_ENDLESS // num_examples)
        .batch(batch_size, batch_fn=list)
        .map_with_index(make_batch)
    )
    return iter(_read_ahead(batches[start_step:], num_threads))


def evaluation_batches(
    data: source.Source,
    split: str,
    *,
    image_size: int,
    batch_size: int,
    num_threads: int,
    share: slice = slice(None),
    pad_colour: str = "black",
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
        share: The examples that are wanted.
        pad_colour: Of the border, one of `letterboxes.PAD_COLOURS`.

    Returns:
        An iterator of {"image": UInt8 [b, h, w, 3], "labels": Float32 [b, l],
        multi-hot, "size": Int32 [b, 2] as in training, "mask": Bool [b], "id": str [b],
        "page": Int64 [b]}. Call its `close()` to end its threads.

    Raises:
        ValueError: An argument is out of range; while iterating: an example is damaged.
    """
    _check_at_least(1, batch_size=batch_size, image_size=image_size)
    _check_at_least(0, num_threads=num_threads)
    letterboxes.check_pad_colour(pad_colour)
    read = _BatchReader(
        data,
        split,
        image_size=image_size,
        batch_size=batch_size,
        pad_colour=pad_colour,
    )
    batches = (
        grain.MapDataset.range(data.num_examples(split))[share]
        .batch(batch_size, batch_fn=list)
        .map(read)
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


class _BatchReader:
    """Reads examples and decodes their images into the batch that they become."""

    def __init__(
        self,
        data: source.Source,
        split: str,
        *,
        image_size: int,
        batch_size: int,
        pad_colour: str,
    ):
        self._examples = data.examples(split)
        self._num_labels = len(data.vocabulary)
        self._pad_colour = pad_colour
        shape = (batch_size, image_size, image_size, 3)
        self._memory = batch_memory.BatchMemory(shape)

    def __call__(
        self, indices: Sequence[int], chosen: Sequence[crops.Crop] = ()
    ) -> dict[str, np.ndarray]:
        """Returns a batch; what examples do not fill is black and without labels.

        Args:
            indices: Of the examples.
            chosen: How the picture of each is read; none: all of it.
        """
        image = self._memory.take()
        size = np.zeros((len(image), 2), np.int32)
        examples = []
        for row, index in enumerate(indices):
            example = self._examples[index]
            crop = chosen[row] if chosen else crops.Crop()
            size[row] = self._decode(example, image[row], crop)
            examples.append(example)
        image[len(examples) :] = 0
        num_missing = len(image) - len(examples)
        labels = [example["labels"] for example in examples]
        return {
            "image": image,
            "labels": multi_hot(labels + [[]] * num_missing, self._num_labels),
            "size": size,
            "mask": np.arange(len(image)) < len(examples),
            "id": np.array(
                [example["id"] for example in examples] + [""] * num_missing
            ),
            "page": np.array(
                [example["page"] for example in examples] + [-1] * num_missing
            ),
        }

    def _decode(
        self,
        example: Mapping[str, Any],
        square: UInt8[np.ndarray, "h w 3"],
        crop: crops.Crop,
    ) -> tuple[int, int]:
        try:
            return stored_jpeg.letterbox(
                example["image"],
                square,
                choose_box=crop.choose_box,
                resample=crop.resample,
                pad_colour=self._pad_colour,
            )
        except images.ImageError as error:
            raise ValueError(
                f"the image of example {example['id']} page {example['page']} cannot "
                f"be decoded ({error}); copy or build the dataset anew"
            ) from error


def _read_ahead(batches: grain.MapDataset, num_threads: int) -> grain.IterDataset:
    # grain's default of 500 would be 500 batches here: gigabytes.
    options = grain.ReadOptions(
        num_threads=num_threads, prefetch_buffer_size=_BATCHES_AHEAD * num_threads
    )
    return batches.to_iter_dataset(options)


def _check_at_least(minimum: int, **arguments: int) -> None:
    for name, value in arguments.items():
        if value < minimum:
            raise ValueError(f"{name}={value} must be at least {minimum}")
