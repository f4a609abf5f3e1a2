"""Stored JPEG -> a square of a batch, decoded in place.

The same pixels as `images.load_rgb` and `letterboxes.letterbox`, without their copies,
for the one plain kind of JPEG that `images.encode_jpeg` writes. Any other picture, and
any damage, is left to those two.
"""

import pathlib
import struct
from collections.abc import Callable

import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import Image

from mlgcn_jax.data import images, letterboxes

_START = b"\xff\xd8"
_FRAME = 0xC0  # baseline
_SCAN = 0xDA
# JFIF, quantisation and Huffman tables. Not among them: EXIF, which may turn the
# picture, and Adobe's segment, which says that the colours are others.
_PLAIN_SEGMENTS = frozenset({0xE0, 0xDB, 0xC4})

ChooseBox = Callable[[tuple[int, int]], letterboxes.CropBox]


def letterbox(
    content: bytes,
    square: UInt8[np.ndarray, "s s 3"],
    *,
    choose_box: ChooseBox | None = None,
    resample: Image.Resampling = Image.Resampling.BILINEAR,
    pad_colour: str = "black",
) -> tuple[int, int]:
    """Fills a square with the picture, as `letterboxes.letterbox` lays it out.

    Args:
        content: The picture file.
        square: Written to, all of it; contiguous.
        choose_box: Says what is wanted of a picture of this (width, height); None:
            all.
        resample: The filter, where the picture is resized.
        pad_colour: Of the border, one of `letterboxes.PAD_COLOURS`.

    Returns:
        (height, width) of the part of the square that is picture.

    Raises:
        ImageError: The picture cannot be used; the square may be half full then.
    """
    size = _plain_size(content)
    if size and choose_box is None and letterboxes.fit(size, len(square)) == size:
        inside = letterboxes.clear_border(square, size, pad_colour=pad_colour)
        if _decode_into(inside, content):
            height, width, _ = inside.shape
            return height, width
    image = _decode(content) if size else None
    if image is None:
        image = images.load_rgb(content)
    return letterboxes.fill_square(
        image,
        square,
        crop_box=choose_box(image.size) if choose_box else None,
        resample=resample,
        pad_colour=pad_colour,
    )


def letterbox_file(
    path: pathlib.Path,
    size_px: int,
    *,
    max_side_px: int | None,
    pad_colour: str = "black",
) -> UInt8[np.ndarray, "s s 3"]:
    """Returns a picture file as a dataset and its input pipeline make it.

    It is shrunk and encoded as the build does it, then decoded and letterboxed as every
    stored picture is: equal, to the bit, to what a model is trained and evaluated with.

    Args:
        path: A file of any kind that `images.load_rgb` takes.
        size_px: Side of the square.
        max_side_px: What the dataset stores of a picture's long side; None: it hands
            out files as they are.
        pad_colour: Of the border, one of `letterboxes.PAD_COLOURS`.

    Raises:
        ImageError: The picture cannot be used.
    """
    if max_side_px is None:
        stored = images.read(path)
    else:
        stored = images.encode_jpeg(images.load_rgb(path), max_side_px=max_side_px)
    square = np.empty((size_px, size_px, 3), np.uint8)
    letterbox(stored, square, pad_colour=pad_colour)
    return square


def _plain_size(content: bytes) -> tuple[int, int] | None:
    """Returns (width, height) where the header is of the plain kind, else None."""
    if not content.startswith(_START):
        return None
    size = None
    start = len(_START)
    while start + 10 < len(content):
        prefix, kind, length = struct.unpack_from(">BBH", content, start)
        if prefix != 0xFF:
            return None
        if kind == _SCAN:
            return size
        if kind == _FRAME:
            _, height, width, channels = struct.unpack_from(">BHHB", content, start + 4)
            size = width, height
            if channels != 3 or not images.is_usable_size(size):
                return None
        elif kind not in _PLAIN_SEGMENTS:
            return None
        start += 2 + length
    return None


def _decode_into(inside: UInt8[np.ndarray, "h w 3"], content: bytes) -> bool:
    """Returns whether libjpeg-turbo found no fault."""
    try:
        if inside.flags.c_contiguous:
            simplejpeg.decode_jpeg(content, buffer=inside)
        else:
            inside[...] = simplejpeg.decode_jpeg(content)
    except ValueError:  # of simplejpeg, for libjpeg-turbo's warnings too
        return False
    return True


def _decode(content: bytes) -> Image.Image | None:
    """Returns the picture, None where libjpeg-turbo found a fault."""
    try:
        return Image.fromarray(simplejpeg.decode_jpeg(content))
    except ValueError:
        return None
