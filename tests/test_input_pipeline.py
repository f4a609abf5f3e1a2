"""Training and evaluation batches: order, resume, padding, faults."""

import collections
import contextlib
import itertools
import threading
import time

import numpy as np
import pytest
from crawl_folders import build_dataset, make_crawl_folder

from mlgcn_jax.data import crops, images, input_pipeline, letterboxes, stored_jpeg

IMAGE_SIZE = 24


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    return build_dataset(make_crawl_folder(folder / "crawl"), folder / "data")


@pytest.fixture(autouse=True)
def no_thread_outlives_its_test():
    """Each batch in hand is finished; checking its types draws random numbers.

    Hypothesis, in the tests of another file, takes those for its strategies' own.
    """
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=10)
        assert not thread.is_alive(), thread.name


def train(data, num_batches, **changes):
    """The first batches of the training split."""
    arguments = dict(batch_size=5, seed=3, start_step=0, num_threads=1) | changes
    batches = input_pipeline.train_batches(data, image_size=IMAGE_SIZE, **arguments)
    try:
        return list(itertools.islice(batches, num_batches))
    finally:
        batches.close()


def evaluation(data, split="validation", **changes):
    arguments = dict(image_size=IMAGE_SIZE, batch_size=4, num_threads=1) | changes
    batches = input_pipeline.evaluation_batches(data, split, **arguments)
    with contextlib.closing(batches):
        return list(batches)


def assert_equal_batches(some, others):
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


def keys_of(batches):
    """The pictures as bytes: all pictures of the test data differ."""
    return [image.tobytes() for batch in batches for image in batch["image"]]


def test_train_batch_holds_letterboxed_images_and_their_labels(data):
    expected = {}
    for example in data.examples("train"):
        image = letterboxes.letterbox(images.load_rgb(example["image"]), IMAGE_SIZE)
        expected[image.tobytes()] = example["labels"]
    for batch in train(data, 3):
        assert batch.keys() == {"image", "labels", "size"}
        assert batch["image"].shape == (5, IMAGE_SIZE, IMAGE_SIZE, 3)
        assert batch["image"].dtype == np.uint8
        assert batch["labels"].shape == (5, len(data.vocabulary))
        assert batch["labels"].dtype == np.float32
        for image, labels in zip(batch["image"], batch["labels"], strict=True):
            np.testing.assert_array_equal(
                np.flatnonzero(labels), expected[image.tobytes()]
            )
            assert labels.max() == 1


def test_epochs_cover_each_example_once_in_another_order(data):
    size = data.num_examples("train")
    stream = keys_of(train(data, num_batches=2 * size, batch_size=2))
    epochs = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert len(epochs) == 4
    for epoch in epochs:
        assert collections.Counter(epoch) == collections.Counter(epochs[0])
        assert len(set(epoch)) == size
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_seed_decides_the_order(data):
    assert keys_of(train(data, 4)) == keys_of(train(data, 4))
    assert keys_of(train(data, 4)) != keys_of(train(data, 4, seed=4))


@pytest.mark.parametrize("num_threads", [0, 1, 2])
@pytest.mark.parametrize("start_step", [1, 7])  # in the first and the second epoch
def test_resumed_stream_equals_the_uninterrupted_one(data, start_step, num_threads):
    whole = train(data, 10)
    resumed = train(
        data, 10 - start_step, start_step=start_step, num_threads=num_threads
    )
    assert_equal_batches(whole[start_step:], resumed)


CROPS = {"crop": "random_resized", "resize_filter": "random"}


def cropped(data, num_batches, **changes):
    return train(data, num_batches, choose_crop=crops.create(CROPS), **changes)


@pytest.mark.parametrize("num_threads", [0, 2])
@pytest.mark.parametrize("start_step", [0, 1, 2, 7])
def test_a_resumed_stream_has_the_same_crops(data, start_step, num_threads):
    whole = cropped(data, 9)
    resumed = cropped(
        data, 9 - start_step, start_step=start_step, num_threads=num_threads
    )
    assert_equal_batches(whole[start_step:], resumed)
    # The same examples in the same order as without.
    plain = train(data, 9)
    for batch, other in zip(whole, plain, strict=True):
        np.testing.assert_array_equal(batch["labels"], other["labels"])
    assert not set(keys_of(whole)) & set(keys_of(plain))
    assert keys_of(cropped(data, 1, seed=4)) != keys_of(whole[:1])


def test_processes_that_share_a_batch_crop_as_one_does(data):
    whole = cropped(data, 3, batch_size=6)
    parts = [cropped(data, 3, batch_size=6, rows=slice(*x)) for x in ((0, 4), (4, 6))]
    for batch, *shares in zip(whole, *parts, strict=True):
        for name in batch:
            joined = np.concatenate([share[name] for share in shares])
            np.testing.assert_array_equal(batch[name], joined)


def test_size_is_that_of_the_picture(data):
    """Pictures of 48 x 64 px: 18 of 24 columns, and what a crop leaves of them."""
    for batch in train(data, 3) + evaluation(data):
        filled = batch["image"].any((1, 2, 3))
        assert batch["size"].dtype == np.int32
        assert (batch["size"][filled] == (24, 18)).all()
        assert not batch["size"][~filled].any()
    (batch,) = cropped(data, 1)
    for image, (height, width) in zip(batch["image"], batch["size"], strict=True):
        assert max(height, width) == IMAGE_SIZE
        top, left = (IMAGE_SIZE - height) // 2, (IMAGE_SIZE - width) // 2
        inside = image[top : top + height, left : left + width]
        assert inside.any(-1).all()  # drawn on light noise
        assert inside.astype(int).sum() == image.astype(int).sum()


def test_the_border_has_the_colour_that_is_asked_for(data):
    for batch in (
        *train(data, 2, pad_colour="white"),
        *evaluation(data, pad_colour="white", batch_size=2)[:2],
    ):
        assert (batch["image"][:, :, :3] == 255).all()
        assert (batch["image"][:, :, -3:] == 255).all()


def test_start_step_decodes_no_example_before_it(data, monkeypatch):
    decoded = []
    letterbox = stored_jpeg.letterbox
    test_thread = threading.get_ident()  # those of closed iterators may end later

    def counting(content, square, **options):
        if threading.get_ident() == test_thread:
            decoded.append(content)
        return letterbox(content, square, **options)

    monkeypatch.setattr(stored_jpeg, "letterbox", counting)
    train(data, 1, start_step=1_000_000, num_threads=0)
    assert len(decoded) == 5


def test_closing_ends_the_threads(data):
    before = set(threading.enumerate())
    batches = input_pipeline.train_batches(
        data, image_size=8, batch_size=2, seed=0, start_step=0, num_threads=2
    )
    next(batches)
    started = set(threading.enumerate()) - before
    assert started
    batches.close()
    for thread in started:
        thread.join(timeout=10)
    assert not any(thread.is_alive() for thread in started)


def test_few_batches_are_made_ahead(data, monkeypatch):
    decoded = []
    letterbox = stored_jpeg.letterbox

    def counting(content, square, **options):
        decoded.append(content)
        return letterbox(content, square, **options)

    monkeypatch.setattr(stored_jpeg, "letterbox", counting)
    batches = input_pipeline.train_batches(
        data, image_size=8, batch_size=2, seed=0, start_step=0, num_threads=2
    )
    next(batches)
    while True:  # until the threads rest
        count = len(decoded)
        time.sleep(0.2)
        if len(decoded) == count:
            break
    batches.close()
    # One batch taken, 2 for each thread waiting, and one in the hand of each.
    assert 2 <= count <= 2 * (1 + 4 + 2)


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("batch_size", [1, 4, 1000])
@pytest.mark.parametrize("num_threads", [0, 2])
def test_evaluation_gives_every_example_once_in_order(
    data, split, batch_size, num_threads
):
    batches = evaluation(data, split, batch_size=batch_size, num_threads=num_threads)
    assert len(batches) == -(-data.num_examples(split) // batch_size)
    found = []
    for batch in batches:
        assert batch["image"].shape == (batch_size, IMAGE_SIZE, IMAGE_SIZE, 3)
        assert batch["labels"].shape == (batch_size, len(data.vocabulary))
        mask = batch["mask"]
        assert mask.dtype == np.bool_
        assert not batch["image"][~mask].any()
        assert not batch["labels"][~mask].any()
        found += zip(
            batch["id"][mask].tolist(),
            batch["page"][mask].tolist(),
            [tuple(np.flatnonzero(row)) for row in batch["labels"][mask]],
            strict=True,
        )
    assert found == [
        (example["id"], example["page"], tuple(example["labels"]))
        for example in data.examples(split)
    ]


def test_multi_hot():
    found = input_pipeline.multi_hot([[2], [], [0, 3]], 4)
    np.testing.assert_array_equal(
        found, np.array([[0, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 1]], np.float32)
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size=0 must be at least 1"),
        ({"batch_size": 1000}, "batch_size=1000 is larger than the train split"),
        ({"start_step": -1}, "start_step=-1 must be at least 0"),
        ({"num_threads": -1}, "num_threads=-1 must be at least 0"),
        ({"pad_colour": "pink"}, "pad_colour='pink' is not known; use one of black"),
    ],
)
def test_bad_arguments(data, changes, message):
    with pytest.raises(ValueError, match=message):
        train(data, 1, **changes)


def test_evaluation_of_a_bad_batch_size_or_split(data):
    with pytest.raises(ValueError, match="batch_size=0"):
        evaluation(data, batch_size=0)
    with pytest.raises(ValueError, match="split 'test'"):
        evaluation(data, "test")


@pytest.mark.parametrize("num_threads", [0, 2])
def test_undecodable_record_names_its_id(data, monkeypatch, num_threads):
    broken = data.examples("validation")[2]
    letterbox = stored_jpeg.letterbox

    def failing(content, square, **options):
        if content == broken["image"]:
            raise images.ImageError("truncated")
        return letterbox(content, square, **options)

    monkeypatch.setattr(stored_jpeg, "letterbox", failing)
    expected = f"example {broken['id']} page {broken['page']} cannot be decoded"
    with pytest.raises(ValueError, match=expected):
        evaluation(data, num_threads=num_threads)
