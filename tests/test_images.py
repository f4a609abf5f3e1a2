"""Pictures of every mode become right RGB; broken ones raise ImageError."""

import io
import random
import struct
import threading
import zlib
from concurrent import futures

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from mlgcn_jax.data import images

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encode(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def load(image, format="PNG", **options):
    """Encodes and loads; returns the pixels."""
    return pixels(images.load_rgb(encode(image, format, **options)))


def pixels(image):
    assert image.mode == "RGB"
    return np.asarray(image)


def noise(width, height, *, seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3))
    return Image.fromarray(values.astype(np.uint8))


def gradient(width=64, height=48):
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([x * 255 // width, y * 255 // height, 0 * x + 128], axis=-1)
    return Image.fromarray(rgb.astype(np.uint8))


def png(width, height, *, bits, colour, rows, chunks=()):
    """A PNG by hand: `rows` are the raw bytes of each row, without filter bytes."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [(b"IHDR", header), *chunks, (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in parts
    )


# Modes


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


# Broken pictures


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


# Stored JPEG


@pytest.mark.parametrize(
    ("size", "stored"),
    [
        ((1024, 512), (512, 256)),
        ((300, 900), (171, 512)),
        ((512, 100), (512, 100)),
        ((40, 30), (40, 30)),  # never enlarged
        ((9, 20_000), (1, 512)),
    ],
)
def test_stored_size(size, stored):
    content = images.encode_jpeg(Image.new("RGB", size, "red"))
    assert Image.open(io.BytesIO(content)).size == stored


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
    found = images.letterbox(Image.new("RGB", size, (10, 200, 30)), 32)
    assert found.dtype == np.uint8
    # A flat picture shows any bleeding of the black border into it.
    np.testing.assert_array_equal(found, expected)


def test_letterbox_keeps_the_pixels_of_a_picture_of_the_right_size():
    picture = noise(32, 20)
    found = images.letterbox(picture, 32)
    np.testing.assert_array_equal(found[6:26], np.asarray(picture))
    assert not found[:6].any()
    assert not found[26:].any()


def test_letterbox_averages_when_it_shrinks():
    # Stripes finer than the result's pixels become their mean; sampling would give
    # 0 or 255.
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[::2] = 255
    found = images.letterbox(Image.fromarray(stripes), 32).astype(int)
    assert np.abs(found[2:-2] - 127.5).max() < 3
