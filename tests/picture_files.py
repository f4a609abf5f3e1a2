"""Pictures for the tests, as pixels and as files."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

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
