"""A picture of predictions: each image with its best labels and their scores."""

import contextlib
import functools
import pathlib
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from mlgcn_jax.data import files, images
from mlgcn_jax.serving import predict

TILE_PX = 176
LABELS_SHOWN = 4
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
_TRUE_COLOUR = (22, 120, 60)
_OTHER_COLOUR = (90, 90, 90)


def save_contact_sheet(
    path: pathlib.Path,
    predictions: Sequence[predict.Prediction],
    labels: Sequence[str],
    *,
    true_labels: Sequence[frozenset[str]],
    columns: int = 4,
) -> None:
    """Writes a PNG with a tile for each picture that could be read.

    Labels that the picture is known to have (`true_labels`, parallel to the
    predictions) are green and starred.
    """
    tiles = [
        _tile(prediction, labels, true)
        for prediction, true in zip(predictions, true_labels, strict=True)
        if prediction.scores is not None
    ]
    rows = -(-len(tiles) // columns)
    width, height = _tile_size()
    sheet = Image.new("RGB", (columns * width, max(rows, 1) * height), "white")
    for i, tile in enumerate(tiles):
        sheet.paste(tile, (i % columns * width, i // columns * height))
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
        TILE_PX + 3 * _MARGIN_PX + LABELS_SHOWN * _LINE_PX,
    )


def _tile(
    prediction: predict.Prediction, labels: Sequence[str], true: frozenset[str]
) -> Image.Image:
    assert prediction.scores is not None
    tile = Image.new("RGB", _tile_size(), "white")
    picture = images.letterbox(images.load_rgb(prediction.path), TILE_PX)
    tile.paste(Image.fromarray(picture), (_MARGIN_PX, _MARGIN_PX))
    draw = ImageDraw.Draw(tile)
    font = _font()
    for line, index in enumerate(prediction.ranked()[:LABELS_SHOWN]):
        is_true = labels[index] in true
        draw.text(
            (_MARGIN_PX, TILE_PX + 2 * _MARGIN_PX + line * _LINE_PX),
            f"{prediction.scores[index]:.2f}  {labels[index]}{' *' if is_true else ''}",
            fill=_TRUE_COLOUR if is_true else _OTHER_COLOUR,
            font=font,
        )
    return tile
