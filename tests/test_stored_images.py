"""What is stored of a picture, and how it becomes a square."""

import io

import numpy as np
import pytest
from picture_files import (
    gradient,
    noise,
    pixels,
)
from PIL import Image

from mlgcn_jax.data import images, letterboxes


@pytest.mark.parametrize(
    ("size", "stored"),
    [
        ((1024, 512), (512, 256)),
        ((300, 900), (171, 512)),
        ((512, 100), (512, 100)),
        ((40, 30), (40, 30)),  # never enlarged
        ((8, 512), (8, 512)),
        ((9, 576), (8, 512)),
    ],
)
def test_stored_size(size, stored):
    content = images.encode_jpeg(Image.new("RGB", size, "red"))
    assert Image.open(io.BytesIO(content)).size == stored


def test_a_picture_that_could_not_be_read_again_is_not_stored():
    long = Image.new("RGB", (8, 600), "red")
    assert images.load_rgb(images.encode_jpeg(long, max_side_px=600)).size == long.size
    message = "8 x 600, shrunk to a long side of 512 pixels, has a side under 8"
    with pytest.raises(images.UnusableSizeError, match=message):
        images.encode_jpeg(long)


def test_stored_jpeg_is_baseline_420_and_deterministic():
    content = images.encode_jpeg(gradient(), max_side_px=64)
    assert content == images.encode_jpeg(gradient().copy(), max_side_px=64)
    # Start of frame: SOF0 is baseline, then length, precision, height, width, and the
    # components with their sampling: luma 2 x 2, chroma 1 x 1.
    start = content.index(b"\xff\xc0")
    assert content[start + 9] == 3
    assert [content[start + 11 + 3 * i] for i in range(3)] == [0x22, 0x11, 0x11]
    difference = np.asarray(gradient()).astype(int) - pixels(images.load_rgb(content))
    assert np.abs(difference).mean() < 2


# Letterbox


@pytest.mark.parametrize(
    ("size", "content"),
    # (width, height) -> (top, bottom, left, right) of the picture in a 32 px square
    [
        ((64, 64), (0, 32, 0, 32)),
        ((64, 32), (8, 24, 0, 32)),
        ((16, 64), (0, 32, 12, 20)),
        ((4, 2), (8, 24, 0, 32)),  # enlarged
        ((64, 6), (14, 17, 0, 32)),  # 3 rows: one more below than above
        ((1, 1000), (0, 32, 15, 16)),
        ((1000, 1), (15, 16, 0, 32)),
    ],
)
def test_letterbox_centres_on_exact_black(size, content):
    top, bottom, left, right = content
    expected = np.zeros((32, 32, 3), np.uint8)
    expected[top:bottom, left:right] = (10, 200, 30)
    found = letterboxes.letterbox(Image.new("RGB", size, (10, 200, 30)), 32)
    assert found.dtype == np.uint8
    # A flat picture shows any bleeding of the black border into it.
    np.testing.assert_array_equal(found, expected)


def test_letterbox_keeps_the_pixels_of_a_picture_of_the_right_size():
    picture = noise(32, 20)
    found = letterboxes.letterbox(picture, 32)
    np.testing.assert_array_equal(found[6:26], np.asarray(picture))
    assert not found[:6].any()
    assert not found[26:].any()


def test_letterbox_averages_when_it_shrinks():
    # Stripes finer than the result's pixels become their mean; sampling would give
    # 0 or 255.
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[::2] = 255
    found = letterboxes.letterbox(Image.fromarray(stripes), 32).astype(int)
    assert np.abs(found[2:-2] - 127.5).max() < 3
