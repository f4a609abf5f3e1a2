"""Pictures of every mode become right RGB."""

import struct
import threading
from concurrent import futures

import numpy as np
import pytest
from picture_files import (
    BLUE,
    GREEN,
    RED,
    WHITE,
    encode,
    gradient,
    load,
    noise,
    pixels,
    png,
)
from PIL import Image, PngImagePlugin

from mlgcn_jax.data import images


def test_rgb_is_untouched_and_bytes_and_path_agree(tmp_path):
    picture = noise(20, 10)
    path = tmp_path / "a.jpg"  # a wrong suffix does not matter
    picture.save(path, "PNG")
    np.testing.assert_array_equal(pixels(images.load_rgb(path)), np.asarray(picture))
    np.testing.assert_array_equal(load(picture), np.asarray(picture))


@pytest.mark.parametrize("format", ["PNG", "GIF", "TIFF", "BMP"])
def test_one_bit(format):
    image = Image.new("1", (9, 8), 1)
    image.putpixel((2, 3), 0)
    expected = np.full((8, 9, 3), 255)
    expected[3, 2] = 0
    np.testing.assert_array_equal(load(image, format), expected)


def test_grey():
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    expected = np.stack([grey] * 3, axis=-1)
    np.testing.assert_array_equal(load(Image.fromarray(grey)), expected)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_alpha_is_over_white(mode, format):
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 255))
    image.putpixel((1, 2), (0, 0, 0, 0))  # hidden black
    image.putpixel((3, 4), (100, 100, 100, 51))  # a fifth: 0.2 * 100 + 0.8 * 255
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    found = load(image.convert(mode), format, **options)
    np.testing.assert_array_equal(found[2, 1], 255)
    np.testing.assert_array_equal(found[4, 3], 224)
    np.testing.assert_array_equal(found[0, 0], 0)


def test_hidden_colour_does_not_show():
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert np.all(load(image) == 255)


@pytest.mark.parametrize("transparency", [1, b"\xff\x00\x80"])
def test_palette_with_transparency(transparency):
    image = Image.new("P", (9, 8))
    image.putpalette([*RED, *GREEN, *BLUE])
    image.putdata([0, 1, 2] * 24)
    found = load(image, transparency=transparency)
    np.testing.assert_array_equal(found[0, 0], RED)
    np.testing.assert_array_equal(found[0, 1], WHITE)
    half_blue = BLUE if transparency == 1 else (127, 127, 255)  # alpha 128 of 255
    np.testing.assert_array_equal(found[0, 2], half_blue)


@pytest.mark.parametrize(
    ("mode", "key", "other"), [("L", 7, 9), ("RGB", (1, 2, 3), (1, 2, 4))]
)
def test_transparent_colour(mode, key, other):
    image = Image.new(mode, (8, 8), other)
    image.putpixel((5, 6), key)
    found = load(image, transparency=key)
    np.testing.assert_array_equal(found[6, 5], 255)
    np.testing.assert_array_equal(found[0, 0], other)


def test_cmyk_jpeg():
    for cmyk, rgb in (
        ((0, 255, 255, 0), RED),
        ((0, 0, 0, 0), WHITE),
        ((0, 0, 0, 255), (0, 0, 0)),
    ):
        found = load(Image.new("CMYK", (16, 16), cmyk), "JPEG", quality=100)
        assert np.abs(found.astype(int) - rgb).max() <= 3  # JPEG loses a little


LEVELS_16 = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled(format):
    found = load(Image.fromarray(LEVELS_16), format)
    expected = np.rint(LEVELS_16 / 257)  # 65535 / 255
    np.testing.assert_array_equal(found, np.stack([expected] * 3, axis=-1))


def test_big_endian_16_bit_tiff_is_scaled():
    rows = LEVELS_16.astype(">u2").tobytes()
    tags = [(256, 8), (257, 8), (258, 16), (262, 1), (273, 8), (277, 1), (278, 8)]
    tags.append((279, len(rows)))
    ifd = struct.pack(">H", len(tags))
    for tag, value in tags:
        ifd += struct.pack(">HHIHH", tag, 3, 1, value, 0)
    tiff = b"MM\0*" + struct.pack(">I", 8 + len(rows)) + rows + ifd + bytes(4)
    found = pixels(images.load_rgb(tiff))
    np.testing.assert_array_equal(found[..., 0], np.rint(LEVELS_16 / 257))


def test_16_bit_grey_png_with_a_transparent_level():
    rows = [row.astype(">u2").tobytes() for row in LEVELS_16]
    level = int(LEVELS_16[2, 3])
    chunk = (b"tRNS", struct.pack(">H", level))
    picture = png(8, 8, bits=16, colour=0, rows=rows, chunks=[chunk])
    expected = np.rint(LEVELS_16 / 257)
    expected[2, 3] = 255
    np.testing.assert_array_equal(
        pixels(images.load_rgb(picture)), np.stack([expected] * 3, axis=-1)
    )


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_16_bit_colour_and_alpha_png(colour, channels):
    rng = np.random.default_rng(1)
    samples = rng.integers(0, 65536, (8, 8, channels), dtype=np.uint16)
    if channels in (2, 4):
        samples[..., -1] = 65535  # opaque
        samples[0, 0] = 0  # transparent black
    rows = [row.astype(">u2").tobytes() for row in samples]
    picture = png(8, 8, bits=16, colour=colour, rows=rows)
    found = pixels(images.load_rgb(picture)).astype(int)
    expected = samples[..., :3] if channels > 2 else samples[..., :1]
    # Pillow takes the high byte here, at most one level from the nearest.
    difference = np.abs(found - expected / 257)
    if channels in (2, 4):
        np.testing.assert_array_equal(found[0, 0], 255)
        difference[0, 0] = 0
    assert difference.max() <= 1


@pytest.mark.parametrize(
    "levels",
    [
        np.linspace(0, 1, 64, dtype=np.float32),
        np.linspace(-3e5, 7e5, 64, dtype=np.float32),
        np.linspace(-(2**31), 2**31 - 1, 64).astype(np.int32),
        np.linspace(100, 65635, 64).astype(np.int32),
    ],
    ids=lambda levels: f"{levels.dtype} {levels[0]:g}",
)
def test_32_bit_grey_is_stretched(levels):
    found = load(Image.fromarray(levels.reshape(8, 8)), "TIFF")[..., 0].ravel()
    expected = np.linspace(0, 255, 64)
    assert np.abs(found - expected).max() <= 0.51  # nearest, of rounded levels


def test_flat_and_infinite_floats():
    flat = Image.fromarray(np.full((8, 8), 3.5, np.float32))
    np.testing.assert_array_equal(load(flat, "TIFF"), 0)
    for value in (np.nan, np.inf):
        levels = np.zeros((8, 8), np.float32)
        levels[1, 1] = value
        with pytest.raises(images.ImageError, match="not finite"):
            load(Image.fromarray(levels), "TIFF")


# Orientation, animation, metadata


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(
    ("orientation", "corner"),
    # Where the red corner, stored top left, belongs: (row, column).
    [
        *((1, (0, 0)), (2, (0, -1)), (3, (-1, -1)), (4, (-1, 0))),
        *((5, (0, 0)), (6, (0, -1)), (7, (-1, -1)), (8, (-1, 0))),
    ],
)
def test_exif_orientation(format, orientation, corner):
    stored = Image.new("RGB", (64, 32), "white")
    stored.paste(RED, (0, 0, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = load(stored, format, exif=exif).astype(int)
    assert found.shape == ((32, 64, 3) if orientation < 5 else (64, 32, 3))
    for row in (0, -1):
        for column in (0, -1):
            expected = RED if (row, column) == corner else WHITE
            assert np.abs(found[row, column] - expected).max() <= 8


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\xff\xff"])
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_exif_does_not_cost_the_picture(exif):
    found = load(gradient(), "JPEG", quality=100, exif=exif)
    assert np.abs(found.astype(int) - np.asarray(gradient())).max() <= 12


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame_of_an_animation(format):
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN)]
    options = {"lossless": True} if format == "WEBP" else {}
    found = load(frames[0], format, save_all=True, append_images=frames[1:], **options)
    np.testing.assert_array_equal(found, np.broadcast_to(RED, (16, 16, 3)))


def test_transparent_gif():
    image = Image.new("P", (8, 8), 0)
    image.putpalette([*RED, *GREEN])
    image.putpixel((1, 1), 1)
    found = load(image, "GIF", transparency=0)
    np.testing.assert_array_equal(found[1, 1], GREEN)
    np.testing.assert_array_equal(found[0, 0], WHITE)


def test_metadata_is_dropped():
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "secret")
    image = images.load_rgb(
        encode(gradient(), "PNG", pnginfo=text, icc_profile=b"x" * 200, dpi=(300, 300))
    )
    assert image.info == {}
    jpeg = encode(gradient(), "JPEG", comment=b"secret")
    stored = images.encode_jpeg(images.load_rgb(jpeg))
    assert b"secret" not in stored


def test_avif():
    found = load(gradient(), "AVIF", quality=100, subsampling="4:4:4").astype(int)
    assert np.abs(found - np.asarray(gradient())).max() <= 12


def test_threads_share_nothing():
    contents = [encode(noise(40, 30, seed=seed), "PNG") for seed in range(16)]
    expected = [pixels(images.load_rgb(content)) for content in contents]
    ready = threading.Barrier(4)

    def load_all(_):
        ready.wait()
        return [pixels(images.load_rgb(content)) for content in contents * 3]

    with futures.ThreadPoolExecutor(4) as pool:
        for found in pool.map(load_all, range(4)):
            for image, wanted in zip(found, expected * 3, strict=True):
                np.testing.assert_array_equal(image, wanted)
