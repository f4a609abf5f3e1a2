"""Picture files of any kind -> right RGB -> stored JPEG.

Built once: `load_rgb` -> `encode_jpeg`. Read at every use: `load_rgb` ->
`letterboxes.letterbox` (for stored JPEG `stored_jpeg.letterbox`). A picture that is in
no dataset goes the whole way: `stored_jpeg.letterbox_file`. Nothing here has state, so
threads may share it all.
"""

import contextlib
import dataclasses
import io
import pathlib
import struct
from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt8
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from mlgcn_jax.data import letterboxes

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"}
)
MAX_IMAGE_PIXELS = 100_000_000  # 300 MB as RGB
MIN_SIDE_PX = 8

# Used in place of PIL.Image.open, which warns of large pictures by a limit that is the
# whole process's, and tries formats (EPS) that run other programs.
_FORMATS: tuple[type[ImageFile.ImageFile], ...] = (
    JpegImagePlugin.JpegImageFile,
    PngImagePlugin.PngImageFile,
    WebPImagePlugin.WebPImageFile,
    GifImagePlugin.GifImageFile,
    BmpImagePlugin.BmpImageFile,
    TiffImagePlugin.TiffImageFile,
    AvifImagePlugin.AvifImageFile,
)


_SUFFIX_OF_FORMAT = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "GIF": ".gif",
    "BMP": ".bmp",
    "TIFF": ".tif",
    "AVIF": ".avif",
}


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What a picture file is.

    Attributes:
        suffix: That its format should have, one of SUFFIXES.
        width: In pixels, before EXIF turns it.
        height: In pixels, before EXIF turns it.
    """

    suffix: str
    width: int
    height: int


class ImageError(ValueError):
    """Says why a picture cannot be used; names no path."""


class UnusableSizeError(ImageError):
    """The picture may well be sound, but it is too small or too large."""


def load_rgb(source: pathlib.Path | bytes) -> Image.Image:
    """Returns the decoded picture as RGB, upright, its transparency over white.

    Of an animation it is the first frame. Samples of 16 bits are scaled to 8; those of
    32, which have no agreed white, are stretched from their least to their greatest.
    Colour profiles and all other metadata are dropped.

    Raises:
        ImageError: The picture cannot be read or is damaged, is of an unknown format,
            has a side under MIN_SIDE_PX or more than MAX_IMAGE_PIXELS pixels.
    """
    with _picture_errors():
        if isinstance(source, bytes):
            return _load(io.BytesIO(source))
        with source.open("rb") as file:
            return _load(file)


def read(path: pathlib.Path) -> bytes:
    """Returns a picture file's content, without looking at it.

    Raises:
        ImageError: It cannot be read.
    """
    with _picture_errors():
        return path.read_bytes()


def inspect(content: bytes) -> Inspection:
    """Returns what a picture file is, after decoding all of it.

    JPEG is read whole, but most of its arithmetic is left out: an eighth of its size is
    computed. What `load_rgb` finds damaged or unusable is so here.

    Raises:
        ImageError: As `load_rgb`.
    """
    with _picture_errors(), _open_usable(io.BytesIO(content)) as image:
        width, height = image.size
        image.draft(None, (width // 8, height // 8))
        image.load()
        return Inspection(_SUFFIX_OF_FORMAT[image.format or ""], width, height)


def encode_jpeg(image: Image.Image, *, max_side_px: int = 512) -> bytes:
    """Returns baseline JPEG bytes, the same for the same picture.

    4:2:0 at quality 95; a baseline file decodes three times as fast as a progressive
    one. LANCZOS: it is the sharpest filter, and a picture is stored only once.

    Args:
        image: Of mode RGB.
        max_side_px: A longer side is shrunk to this; nothing is enlarged.

    Raises:
        UnusableSizeError: Shrunk it has a side under MIN_SIDE_PX.
    """
    if max(image.size) > max_side_px:
        size = letterboxes.fit(image.size, max_side_px)
        if min(size) < MIN_SIDE_PX:
            raise UnusableSizeError(
                f"too long: {image.width} x {image.height}, shrunk to a long side of "
                f"{max_side_px} pixels, has a side under {MIN_SIDE_PX}"
            )
        image = image.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95, subsampling="4:2:0")
    return buffer.getvalue()


def is_usable_size(size: tuple[int, int]) -> bool:
    """Returns whether `load_rgb` takes pictures of this (width, height)."""
    return min(size) >= MIN_SIDE_PX and size[0] * size[1] <= MAX_IMAGE_PIXELS


@contextlib.contextmanager
def _picture_errors() -> Iterator[None]:
    """Makes ImageError of whatever is raised on a picture that cannot be used."""
    try:
        yield
    except ImageError:
        raise
    except OSError as error:
        # strerror, because the message of a system error names the path.
        raise ImageError(f"cannot be read: {error.strerror or error}") from error
    except Exception as error:  # whatever Pillow raises on damaged data
        reason = f"{type(error).__name__}: {error}"
        raise ImageError(f"cannot be decoded: {reason}") from error


def _load(file: io.BytesIO | io.BufferedReader) -> Image.Image:
    with _open_usable(file) as image:
        image.load()
        try:
            ImageOps.exif_transpose(image, in_place=True)
        except Exception:  # damaged EXIF beside sound pixels: they are upright then
            pass
        rgb = _convert(image)
    rgb.info.clear()
    return rgb


def _open_usable(file: io.BytesIO | io.BufferedReader) -> ImageFile.ImageFile:
    image = _open(file)
    # Before anything is allocated: a header may claim any size.
    if image.width * image.height > MAX_IMAGE_PIXELS:
        raise UnusableSizeError(
            f"too large: {image.width} x {image.height} is more than "
            f"{MAX_IMAGE_PIXELS} pixels"
        )
    if min(image.size) < MIN_SIDE_PX:
        raise UnusableSizeError(
            f"too small: {image.width} x {image.height} has a side under "
            f"{MIN_SIDE_PX} pixels"
        )
    return image


def _open(file: io.BytesIO | io.BufferedReader) -> ImageFile.ImageFile:
    for image_class in _FORMATS:
        file.seek(0)
        try:
            return image_class(file)
        except (SyntaxError, IndexError, TypeError, struct.error):
            continue  # Pillow's way to say: not of this format
    raise ImageError("not a picture of a known format, or its header is damaged")


def _convert(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_to_8_bits(image)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _to_8_bits(image: Image.Image) -> UInt8[np.ndarray, "h w"]:
    """Returns the grey levels of a picture with 16 or 32 bits a sample."""
    levels = np.asarray(image).astype(np.float64)
    if image.mode.startswith("I;16"):
        low, high = 0.0, 65535.0
    else:
        low, high = float(levels.min()), float(levels.max())
        if not np.isfinite(high - low):
            raise ImageError("holds samples that are not finite")
    span = (high - low) or 1.0  # a flat picture becomes black
    grey = np.rint((levels - low) * (255 / span)).astype(np.uint8)
    transparent = image.info.get("transparency")  # one level, by its number
    if transparent is not None:
        grey[levels == transparent] = 255
    return grey
