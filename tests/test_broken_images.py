"""Broken pictures raise ImageError, whatever is broken."""

import random

import numpy as np
import pytest
from picture_files import encode, gradient, noise, pixels, png
from PIL import Image, PngImagePlugin

from mlgcn_jax.data import images


def assert_rejected(content, message):
    with pytest.raises(images.ImageError, match=message) as raised:
        images.load_rgb(content)
    assert " at 0x" not in str(raised.value)  # reasons are the same in every build


@pytest.mark.parametrize("kept", [0.5, 0.9, -100])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_truncated(format, kept):
    content = encode(noise(100, 80), format)
    cut = int(kept * len(content)) if kept > 0 else kept
    assert_rejected(content[:cut], "cannot be|not a picture")


def test_missing_end():
    # Two bytes are all of JPEG's end mark: more may be missing. PNG's is longer, and
    # what stands before it was checked: there the pixels are whole.
    assert_rejected(encode(noise(100, 80), "JPEG")[:-2], "cannot be read")
    whole = noise(100, 80)
    found = pixels(images.load_rgb(encode(whole, "PNG")[:-2]))
    np.testing.assert_array_equal(found, np.asarray(whole))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"<html>429 Too Many Requests</html>",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xe0 this is no JPEG",
        b"\x89PNG\r\n\x1a\n",
        b"\x89PNG\r\n\x1a\n" + b"garbage" * 100,
        b"GIF89a",
        b"RIFF\xff\xff\xff\xffWEBPVP8 ",
        b"II*\0\xff\xff\xff\xff",
        b"BM" + bytes(60),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n",
        bytes(range(256)) * 20,
    ],
    ids=lambda content: repr(content[:8]),
)
def test_what_is_no_picture(content):
    assert_rejected(content, "cannot be|not a picture")


@pytest.mark.parametrize(
    ("width", "height"),
    [(100_000, 100_000), (2**31 - 1, 2**31 - 1), (100_000_001, 1), (10_001, 10_000)],
)
def test_claimed_size_is_refused_before_anything_is_decoded(width, height, monkeypatch):
    loads = []
    monkeypatch.setattr(
        PngImagePlugin.PngImageFile, "load", lambda image: loads.append(image)
    )
    row = b"\0" * 16
    content = png(width, height, bits=8, colour=2, rows=[row])
    assert_rejected(content, f"too large: {width} x {height} is more than 100000000")
    assert not loads


@pytest.mark.parametrize(
    ("size", "fits"), [((8, 8), True), ((7, 8), False), ((900, 7), False)]
)
def test_smallest_side(size, fits):
    content = encode(Image.new("RGB", size), "PNG")
    if fits:
        assert images.load_rgb(content).size == size
    else:
        assert_rejected(content, f"too small: {size[0]} x {size[1]}")


def test_long_pictures_are_pictures():
    assert images.load_rgb(encode(Image.new("L", (9, 20_000)), "PNG")).height == 20_000


def test_unreadable_file_is_named_by_its_fault_only(tmp_path):
    for path, message in ((tmp_path / "none.png", "No such"), (tmp_path, "Is a dir")):
        with pytest.raises(images.ImageError, match=message) as caught:
            images.load_rgb(path)
        assert str(tmp_path) not in str(caught.value)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # damaged EXIF
@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_random_damage_raises_nothing_else(format):
    rng = random.Random(format)
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {} if format in ("GIF", "BMP") else {"exif": exif}
    content = encode(gradient(), format, **options)
    num_rejected = 0
    for _ in range(150):
        damaged = bytearray(content)
        for _ in range(rng.randrange(1, 6)):
            # Mostly in the header, where damage has most shapes.
            end = len(damaged) if rng.random() < 0.3 else min(200, len(damaged))
            damaged[rng.randrange(end)] = rng.randrange(256)
        try:
            image = images.load_rgb(bytes(damaged))
        except images.ImageError:
            num_rejected += 1
        else:
            assert image.mode == "RGB"
            image.tobytes()
    assert 0 < num_rejected
