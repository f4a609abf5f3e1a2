"""A picture on a square of one colour: where it lies there, and its pixels."""

import numpy as np
from jaxtyping import UInt8
from PIL import Image

# Colours of the border of a letterboxed picture, RGB. "mean" is that of ImageNet, which
# normalisation makes 0 (nearly: it has no fractions).
PAD_COLOURS = {"black": (0, 0, 0), "white": (255, 255, 255), "mean": (124, 116, 104)}

# Part of a picture: left, top, right, bottom, in px from its upper left corner.
CropBox = tuple[int, int, int, int]


def letterbox(
    image: Image.Image,
    size_px: int,
    *,
    crop_box: CropBox | None = None,
    resample: Image.Resampling = Image.Resampling.BILINEAR,
    pad_colour: str = "black",
) -> UInt8[np.ndarray, "s s 3"]:
    """Returns the picture, long side size_px, centred on a square of one colour.

    Resized before it is padded, as padding first bleeds into the border.

    Args:
        image: Of mode RGB; not resampled where it has the right size already.
        size_px: Side of the square.
        crop_box: What is wanted of the picture; None: all. At its edges the filter
            sees the pixels beyond.
        resample: The filter. BILINEAR: in Pillow it averages over all pixels when it
            shrinks, and this is done at every read.
        pad_colour: Of the border, one of PAD_COLOURS; the border has exactly this.
    """
    square = np.empty((size_px, size_px, 3), np.uint8)
    fill_square(
        image, square, crop_box=crop_box, resample=resample, pad_colour=pad_colour
    )
    return square


def fill_square(
    image: Image.Image,
    square: UInt8[np.ndarray, "s s 3"],
    *,
    crop_box: CropBox | None = None,
    resample: Image.Resampling = Image.Resampling.BILINEAR,
    pad_colour: str = "black",
) -> tuple[int, int]:
    """Writes what `letterbox` returns to a square.

    Returns:
        (height, width) of the part that is picture.
    """
    left, top, right, bottom = crop_box or (0, 0, *image.size)
    inside = clear_border(square, (right - left, bottom - top), pad_colour=pad_colour)
    height, width, _ = inside.shape
    if image.size != (width, height) or crop_box is not None:
        image = image.resize((width, height), resample, box=crop_box)
    inside[...] = np.asarray(image)
    return height, width


def clear_border(
    square: UInt8[np.ndarray, "s s 3"],
    size: tuple[int, int],
    *,
    pad_colour: str = "black",
) -> UInt8[np.ndarray, "h w 3"]:
    """Returns the part of a square that a letterboxed picture fills; pads the rest.

    Args:
        square: Written to, but not where the picture belongs.
        size: (width, height) of the picture before it is resized.
        pad_colour: One of PAD_COLOURS.
    """
    side = len(square)
    width, height = fit(size, side)
    top, left = (side - height) // 2, (side - width) // 2
    # A whole line: NumPy repeats three numbers many times slower.
    line = np.full((side, 3), PAD_COLOURS[pad_colour], np.uint8)
    square[:top] = line
    square[top + height :] = line
    rows = square[top : top + height]
    rows[:, :left] = line[:left]
    rows[:, left + width :] = line[left + width :]
    return rows[:, left : left + width]


def check_pad_colour(name: str) -> None:
    """Raises ValueError unless it is one of PAD_COLOURS."""
    if name not in PAD_COLOURS:
        raise ValueError(
            f"pad_colour={name!r} is not known; use one of {', '.join(PAD_COLOURS)}"
        )


def fit(size: tuple[int, int], long_side_px: int) -> tuple[int, int]:
    """Returns (width, height) for a long side, both at least 1."""
    width, height = size
    scale = long_side_px / max(size)
    return max(1, round(width * scale)), max(1, round(height * scale))
