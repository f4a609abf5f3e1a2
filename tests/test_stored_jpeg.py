"""Stored JPEG decoded in place: the pixels of Pillow, and its faults."""

import io
import random

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from mlgcn_jax.data import images, letterboxes, stored_jpeg

SIZES = [(64, 64), (64, 40), (40, 64), (64, 9), (9, 64), (63, 64)]


def picture(size, *, mode="RGB"):
    """Soft shapes: of noise JPEG would leave little to compare."""
    width, height = size
    noise = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    soft = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
    return soft.convert(mode)


def encode(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def general(content, size_px):
    return letterboxes.letterbox(images.load_rgb(content), size_px)


def in_place(content, size_px):
    square = np.full((size_px, size_px, 3), 77, np.uint8)
    stored_jpeg.letterbox(content, square)
    return square


def forbid_general(monkeypatch):
    monkeypatch.setattr(images, "load_rgb", lambda content: pytest.fail("not plain"))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("size_px", [64, 48, 100])
def test_stored_pictures_are_decoded_to_the_same_pixels(size, size_px, monkeypatch):
    content = images.encode_jpeg(picture(size))
    expected = general(content, size_px)
    forbid_general(monkeypatch)
    np.testing.assert_array_equal(in_place(content, size_px), expected)


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


OTHERS = {
    "grey": lambda: encode(picture((64, 40), mode="L")),
    "CMYK": lambda: encode(picture((64, 40), mode="CMYK")),
    "turned": lambda: encode(picture((64, 40)), exif=exif(6)),
    "progressive": lambda: encode(picture((64, 40)), progressive=True),
    "4:4:4": lambda: encode(picture((64, 40)), subsampling="4:4:4"),
    "RGB inside": lambda: encode(picture((64, 40)), keep_rgb=True),
    "restarts": lambda: encode(picture((64, 40)), restart_marker_rows=1),
    "profile": lambda: encode(picture((64, 40)), icc_profile=b"x" * 200),
    "trailing": lambda: encode(picture((64, 40))) + b"garbage",
    "no JPEG": lambda: png(picture((64, 40))),
}


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("size_px", [64, 48])
def test_other_pictures_come_out_the_same(kind, size_px):
    content = OTHERS[kind]()
    np.testing.assert_array_equal(in_place(content, size_px), general(content, size_px))


@pytest.mark.parametrize("kept", [0, 1, 3, 20, 300, 700, -200, -2, -1])
def test_truncated(kept):
    content = images.encode_jpeg(picture((64, 40)))[:kept]
    with pytest.raises(images.ImageError) as expected:
        general(content, 64)
    with pytest.raises(images.ImageError) as found:
        in_place(content, 64)
    assert str(found.value) == str(expected.value)


@pytest.mark.parametrize("size", [(7, 64), (64, 7)])
def test_too_small(size):
    with pytest.raises(images.ImageError, match="too small"):
        in_place(images.encode_jpeg(picture(size)), 64)


def test_a_claimed_size_is_refused_before_anything_is_decoded(monkeypatch):
    content = bytearray(images.encode_jpeg(picture((64, 64))))
    start = content.index(b"\xff\xc0") + 5
    content[start : start + 4] = b"\xff\xff\xff\xff"  # height, width
    monkeypatch.setattr(simplejpeg, "decode_jpeg", lambda *_, **__: pytest.fail())
    with pytest.raises(images.ImageError, match="too large"):
        in_place(bytes(content), 64)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # damaged metadata
@pytest.mark.parametrize("size_px", [64, 48])
def test_random_damage_changes_neither_pixels_nor_error(size_px):
    rng = random.Random(size_px)
    content = images.encode_jpeg(picture((64, 40)))
    outcomes = set()
    for _ in range(600):
        damaged = bytearray(content)
        for _ in range(rng.randrange(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        damaged = bytes(damaged)
        try:
            expected = general(damaged, size_px)
        except images.ImageError as error:
            with pytest.raises(images.ImageError) as found:
                in_place(damaged, size_px)
            assert str(found.value) == str(error)
            outcomes.add("rejected")
        else:
            np.testing.assert_array_equal(in_place(damaged, size_px), expected)
            outcomes.add("decoded")
    assert outcomes == {"rejected", "decoded"}
