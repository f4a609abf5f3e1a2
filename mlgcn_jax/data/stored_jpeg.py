"""Stored JPEG -> a square of a batch, decoded in place.

The same pixels as `images.load_rgb` and `images.letterbox`, without their copies, for
the one plain kind of JPEG that `images.encode_jpeg` writes. Any other picture, and any
damage, is left to those two.
"""

import struct

import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import Image

from mlgcn_jax.data import images

_START = b"\xff\xd8"
_FRAME = 0xC0  # baseline
_SCAN = 0xDA
# JFIF, quantisation and Huffman tables. Not among them: EXIF, which may turn the
# picture, and Adobe's segment, which says that the colours are others.
_PLAIN_SEGMENTS = frozenset({0xE0, 0xDB, 0xC4})


def letterbox(content: bytes, square: UInt8[np.ndarray, "s s 3"]) -> None:
    """Fills a square with the picture, as `images.letterbox` lays it out.

    Args:
        content: The picture file.
        square: Written to, all of it; contiguous.

    Raises:
        ImageError: The picture cannot be used; the square may be half full then.
    """
    size = _plain_size(content)
    if size is None or not _letterbox_plain(content, size, square):
        square[...] = images.letterbox(images.load_rgb(content), len(square))


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


def _letterbox_plain(
    content: bytes, size: tuple[int, int], square: UInt8[np.ndarray, "s s 3"]
) -> bool:
    """Returns whether it could be done: libjpeg-turbo found no fault."""
    width, height = size
    inside = images.clear_border(square, size)
    try:
        if inside.shape != (height, width, 3):
            decoded = Image.fromarray(simplejpeg.decode_jpeg(content))
            square[...] = images.letterbox(decoded, len(square))
        elif inside.flags.c_contiguous:
            simplejpeg.decode_jpeg(content, buffer=inside)
        else:
            inside[...] = simplejpeg.decode_jpeg(content)
    except ValueError:  # of simplejpeg, for libjpeg-turbo's warnings too
        return False
    return True
