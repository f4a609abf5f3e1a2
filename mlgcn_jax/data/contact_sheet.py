"""A picture of pictures, with lines of text under each."""

import contextlib
import functools
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from mlgcn_jax.data import files, letterboxes

TILE_PX = 176
LINES_SHOWN = 4
_LINE_PX = 17
_FONT_PX = 13
# File names under which distributions install one; Pillow looks in their folders.
_JAPANESE_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "NotoSansJP-Regular.otf",
    "ipagp.ttf",
    "fonts-japanese-gothic.ttf",
    "DroidSansFallbackFull.ttf",
)
_MARGIN_PX = 8
_MARKED_COLOUR = (22, 120, 60)
_OTHER_COLOUR = (90, 90, 90)


class Line(NamedTuple):
    """Text under a picture; green where it is marked."""

    text: str
    is_marked: bool


class Tile(NamedTuple):
    """A picture and what is written under it; of the lines the first LINES_SHOWN."""

    picture: UInt8[np.ndarray, "h w 3"]
    lines: Sequence[Line]


def save(path: pathlib.Path, tiles: Sequence[Tile], *, columns: int = 4) -> None:
    """Writes a PNG with a tile for each picture, letterboxed to TILE_PX."""
    rows = -(-len(tiles) // columns)
    width, height = _tile_size()
    sheet = Image.new("RGB", (columns * width, max(rows, 1) * height), "white")
    for i, tile in enumerate(tiles):
        sheet.paste(_draw(tile), (i % columns * width, i // columns * height))
    with files.written_whole(path) as temporary:
        sheet.save(temporary, format="PNG")


@functools.cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font of the system with Japanese, as tags are; else Pillow's, without."""
    for name in _JAPANESE_FONTS:
        with contextlib.suppress(OSError):
            return ImageFont.truetype(name, _FONT_PX)
    return ImageFont.load_default(_FONT_PX)


def _tile_size() -> tuple[int, int]:
    return (
        TILE_PX + 2 * _MARGIN_PX,
        TILE_PX + 3 * _MARGIN_PX + LINES_SHOWN * _LINE_PX,
    )


def _draw(tile: Tile) -> Image.Image:
    drawn = Image.new("RGB", _tile_size(), "white")
    picture = letterboxes.letterbox(Image.fromarray(tile.picture), TILE_PX)
    drawn.paste(Image.fromarray(picture), (_MARGIN_PX, _MARGIN_PX))
    draw = ImageDraw.Draw(drawn)
    for number, line in enumerate(tile.lines[:LINES_SHOWN]):
        draw.text(
            (_MARGIN_PX, TILE_PX + 2 * _MARGIN_PX + number * _LINE_PX),
            line.text,
            fill=_MARKED_COLOUR if line.is_marked else _OTHER_COLOUR,
            font=_font(),
        )
    return drawn
