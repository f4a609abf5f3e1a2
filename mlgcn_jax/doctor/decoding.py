"""Pictures that come with the project, decoded here, against pixels that are stored."""

import functools
import pathlib
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import UInt8

from mlgcn_jax.data import dataset, images, letterboxes, stored_jpeg
from mlgcn_jax.doctor import findings

PART = "decoding"
_PICTURES = pathlib.Path(__file__).parent / "pictures"
_MAY_DIFFER_BY = 2  # levels of 255: another build of libjpeg rounds otherwise
_ADVICE = "install pillow and simplejpeg again, at the versions of requirements/"


def check(data_dir: pathlib.Path | None) -> Iterator[findings.Finding]:
    """Yields how far each decoder is from the stored pixels, in levels of 255.

    Args:
        data_dir: A dataset whose first picture both decoders of JPEG shall see alike,
            or None.
    """
    decoders: dict[str, tuple[Callable[[bytes], np.ndarray], str, str]] = {
        "JPEG by libjpeg-turbo": (_letterboxed, "picture.jpg", "jpeg_pixels.npy"),
        "JPEG by Pillow": (_by_pillow, "picture.jpg", "jpeg_pixels.npy"),
        "PNG by Pillow": (_by_pillow, "picture.png", "pixels.npy"),
        "WebP by Pillow": (_by_pillow, "picture.webp", "pixels.npy"),
    }
    for name, (decode, picture, pixels) in decoders.items():
        try:
            expected = np.load(_PICTURES / pixels)
            found = decode((_PICTURES / picture).read_bytes())
            yield _compare(name, found, expected)
        except Exception as error:  # whatever a decoder of this machine raises
            yield findings.failed(PART, name, error, advice=_ADVICE)
    if data_dir is not None:
        yield _first_picture(data_dir)


def _first_picture(data_dir: pathlib.Path) -> findings.Finding:
    name = f"first picture of {data_dir}"
    try:
        content = dataset.open_dataset(data_dir).examples("train")[0]["image"]
        square = np.empty((128, 128, 3), np.uint8)
        stored_jpeg.letterbox(content, square)
        return _compare(
            name, square, letterboxes.letterbox(images.load_rgb(content), 128)
        )
    except (OSError, ValueError, IndexError) as error:
        return findings.failed(PART, name, error, advice="name another --data_dir")


def _by_pillow(content: bytes) -> UInt8[np.ndarray, "h w 3"]:
    return np.asarray(images.load_rgb(content))


def _letterboxed(content: bytes) -> UInt8[np.ndarray, "h w 3"]:
    square = np.empty((32, 32, 3), np.uint8)
    stored_jpeg.letterbox(content, square)
    return square[4:-4]  # the picture is 32 x 24


def _compare(name: str, found: np.ndarray, expected: np.ndarray) -> findings.Finding:
    make = functools.partial(findings.Finding, PART, name)
    if found.shape != expected.shape:
        return make(f"a picture {found.shape}", status="fault", advice=_ADVICE)
    distance = int(np.abs(found.astype(int) - expected.astype(int)).max())
    if not distance:
        return make("the stored pixels")
    return make(
        f"up to {distance} levels off",
        expected="the stored pixels",
        status="fault" if distance > _MAY_DIFFER_BY else "warning",
        advice=_ADVICE,
    )
