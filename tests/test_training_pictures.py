"""The sheet of training pictures as the model sees them."""

import jax
import numpy as np
from PIL import Image

from mlgcn_jax.data import contact_sheet
from mlgcn_jax.learning.augmentations import registry
from mlgcn_jax.training import training_pictures

LABELS = ("circle", "square", "赤")
_TILE_PX = contact_sheet.TILE_PX + 16  # with its margins


def make_batch(count):
    """Images of one colour each, red growing from left to right."""
    image = np.zeros((count, 8, 8, 3), np.uint8)
    image[..., 0] = 20 * np.arange(1, count + 1)[:, None, None]
    return {
        "image": image,
        "labels": np.eye(3, dtype=np.float32)[np.arange(count) % 3],
        "size": np.full((count, 2), 8, np.int32),
    }


def save(path, values, *, count):
    training_pictures.save(
        path,
        make_batch(count),
        LABELS,
        registry.create(values),
        jax.random.key(0),
        count=6,
    )
    with Image.open(path) as sheet:
        return np.asarray(sheet)


def test_it_shows_the_first_pictures(tmp_path):
    sheet = save(tmp_path / "sheet.png", {}, count=9)
    assert sheet.shape[1] == 4 * _TILE_PX
    found = sheet[100, [100 + _TILE_PX * i for i in range(4)], 0]
    np.testing.assert_array_equal(found, [20, 40, 60, 80])
    second = sheet[100 + sheet.shape[0] // 2, [100 + _TILE_PX * i for i in range(4)], 0]
    np.testing.assert_array_equal(second, [100, 120, 255, 255])


def test_mixed_pictures_are_shown_with_their_shares(tmp_path):
    plain = save(tmp_path / "plain.png", {}, count=6)
    mixed = save(tmp_path / "mixed.png", {"mixup": 1.0, "mixup_alpha": 50.0}, count=6)
    assert mixed[100, 100, 0] in (29, 30, 31, 28, 32)  # about half of 20 and of 40
    assert (plain[100, 100] != mixed[100, 100]).any()
    under = slice(contact_sheet.TILE_PX + 10, contact_sheet.TILE_PX + 60)
    green = (22, 120, 60)
    assert (plain[under, :180] == green).all(-1).any()
    assert not (mixed[under, :180] == green).all(-1).any()


def test_lines_of_an_image():
    lines = training_pictures._lines(np.float32([0.25, 0, 0.75]), LABELS)
    assert lines == [("0.75  赤", False), ("0.25  circle", False)]
    assert training_pictures._lines(np.float32([0, 1, -1]), LABELS) == [
        ("square", True)
    ]
