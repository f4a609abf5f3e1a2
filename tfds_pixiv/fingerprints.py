"""Pictures -> fingerprints, and whether two of them are of the same picture.

A fingerprint holds a perceptual hash, by which `twin_index` finds candidates among
millions, and a small blurred thumbnail in colour, by which a candidate is confirmed:
the hash is grey, and of two drawings on white it sees little but the white.
"""

import hashlib

import imagehash
import numpy as np
from jaxtyping import Float, Shaped
from PIL import Image, ImageFilter

from tfds_pixiv import crop_alignment

THUMBNAIL_SIDE = 24
# One record a picture. `work`: of its id; `hashes`: by frequencies and by brightness,
# 64 bits each, alike for like pictures; `content`: of the stored bytes; `aspect`: width
# over height; `is_one_colour`: it has no content to be known by; `thumbnail`: luma,
# blue and red difference; `colour`: their means.
FINGERPRINT = np.dtype(
    [
        ("work", np.uint64),
        ("hashes", np.uint64, (2,)),
        ("content", np.uint64),
        ("colour", np.float32, (3,)),
        ("aspect", np.float32),
        ("is_one_colour", np.bool_),
        ("thumbnail", np.uint8, (3, THUMBNAIL_SIDE, THUMBNAIL_SIDE)),
    ]
)

_SMALL_SIDE_PX = 64
_BLUR_PX = 2.0  # of the small picture: what JPEG and other resizing change is gone
_ONE_COLOUR_LEVELS = 2
_COLOUR_CELL = 3  # pixels of the thumbnail in which colours are compared as one

# Chosen on the shipped sample, where `tests/twins_measured.py` shows what they do. All
# are in levels of 0..255, or shares of the variance of the picture with less of it.
_MIN_VARIANCE = 4.0  # less is no content: equal bytes alone make a twin there
_MAX_BRIGHTNESS_SHIFT = 12.0
_MAX_ASPECT_RATIO = 1.07  # of one aspect over the other
_MAX_MEAN_CHROMA = 9  # of both pictures whole; a crop changes it by less
_MAX_SHARE = 0.1
_MAX_LUMA = 5.5
_MAX_CHROMA = 15.0
# Where a crop explains nearly all of a difference, more of it may be left.
_MIN_VARIANCE_OF_CROP = 100.0
_MAX_SHARE_BEFORE_CROP = 0.25
_MAX_SHARE_AFTER_CROP = 0.02
_MAX_UNEXPLAINED = 0.3
_MAX_LUMA_AFTER_CROP = 14.0
_MAX_CHROMA_AFTER_CROP = 15.0


def fingerprint(
    image: Image.Image, stored: bytes, *, work_id: str
) -> Shaped[np.ndarray, ""]:
    """Returns the FINGERPRINT of a picture.

    Args:
        image: Of mode RGB.
        stored: The bytes of the picture as the dataset holds it.
        work_id: Pictures of one work are never twins.
    """
    side = (_SMALL_SIDE_PX, _SMALL_SIDE_PX)
    small = image.resize(side, Image.Resampling.LANCZOS, reducing_gap=2.0)
    blurred = small.filter(ImageFilter.GaussianBlur(_BLUR_PX)).convert("YCbCr")
    thumbnail = blurred.resize(
        (THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS
    )
    planes = np.moveaxis(np.asarray(thumbnail), -1, 0)
    spread = np.ptp(small.getextrema(), axis=-1).max()
    result = np.zeros((), FINGERPRINT)
    result["work"] = _digest(work_id.encode())
    hashes = imagehash.phash(small), imagehash.average_hash(small)
    result["hashes"] = np.packbits([hash.hash for hash in hashes]).view(np.uint64)
    result["content"] = _digest(stored)
    result["colour"] = planes.mean((1, 2))
    result["aspect"] = image.width / image.height
    result["is_one_colour"] = spread <= _ONE_COLOUR_LEVELS
    result["thumbnail"] = planes
    return result


def differences(
    first: Shaped[np.ndarray, " n"], second: Shaped[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Returns for each pair of fingerprints the share in which the pictures differ.

    It is 0 for equal pictures, at most 0.1 for twins, and infinite for pairs that are
    no twins: other colours, other details, another aspect, a mirrored picture, pages of
    one work, pictures of one colour.
    """
    result = np.full(len(first), np.inf)
    possible = (first["work"] != second["work"]) & ~first["is_one_colour"]
    result[possible & (first["content"] == second["content"])] = 0.0
    stretch = np.abs(np.log(first["aspect"]) - np.log(second["aspect"]))
    shift = np.abs(first["colour"] - second["colour"])[:, 1:].max(1)
    possible &= np.isinf(result) & (stretch <= np.log(_MAX_ASPECT_RATIO))
    possible &= shift <= _MAX_MEAN_CHROMA
    (pairs,) = np.nonzero(possible)
    for chunk in np.array_split(pairs, -(-len(pairs) // 256) or 1):  # bounds the memory
        result[chunk] = _thumbnail_differences(
            first["thumbnail"][chunk].astype(np.float32),
            second["thumbnail"][chunk].astype(np.float32),
        )
    return result


def _thumbnail_differences(
    first: Float[np.ndarray, "n 3 s s"], second: Float[np.ndarray, "n 3 s s"]
) -> Float[np.ndarray, " n"]:
    """Returns the differing shares, infinite where the pictures are no twins."""
    everywhere = np.full((THUMBNAIL_SIDE, THUMBNAIL_SIDE), THUMBNAIL_SIDE**-2.0)
    share, luma, chroma = _measures(first, second, everywhere)
    is_twin = (share <= _MAX_SHARE) & (luma <= _MAX_LUMA) & (chroma <= _MAX_CHROMA)
    result = np.where(is_twin, share, np.inf)

    (maybe,) = np.nonzero(~is_twin & (share <= _MAX_SHARE_BEFORE_CROP))
    if not len(maybe):
        return result
    first, second = first[maybe], second[maybe]
    inner = crop_alignment.inner_weights(THUMBNAIL_SIDE)
    before, _, _ = _measures(first, second, inner)
    moved, is_crop = crop_alignment.align(first, second)
    share, luma, chroma = _measures(moved, second, inner)
    is_twin = (
        is_crop
        & (_least_variance(moved, second, inner) >= _MIN_VARIANCE_OF_CROP)
        & (share <= np.minimum(_MAX_SHARE_AFTER_CROP, _MAX_UNEXPLAINED * before))
        & (luma <= _MAX_LUMA_AFTER_CROP)
        & (chroma <= _MAX_CHROMA_AFTER_CROP)
    )
    result[maybe] = np.where(is_twin, share, np.inf)
    return result


def _measures(
    first: Float[np.ndarray, "n 3 s s"],
    second: Float[np.ndarray, "n 3 s s"],
    weights: Float[np.ndarray, "s s"],
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Returns differing share, and largest differences of luma and chroma in levels.

    The share is infinite where one of the pictures has too little content there.
    """
    variance = _least_variance(first, second, weights)
    left = (second - first).astype(np.float32)
    brightness = (left[:, 0] * weights).sum((1, 2))
    left[:, 0] -= np.clip(brightness, -_MAX_BRIGHTNESS_SHIFT, _MAX_BRIGHTNESS_SHIFT)[
        :, None, None
    ]
    # JPEG halves the resolution of the colour, and keeps little of what is left.
    cells = THUMBNAIL_SIDE // _COLOUR_CELL
    coarse = left[:, 1:].reshape(-1, 2, cells, _COLOUR_CELL, cells, _COLOUR_CELL)
    coarse = coarse.mean((3, 5)).repeat(_COLOUR_CELL, axis=2)
    left[:, 1:] = coarse.repeat(_COLOUR_CELL, axis=3)
    energy = (left**2 * weights).sum((1, 2, 3))
    share = np.where(variance < _MIN_VARIANCE, np.inf, energy / (variance + 1e-9))
    largest = (np.abs(left) * (weights > 0)).max((2, 3))
    return share, largest[:, 0], largest[:, 1:].max(1)


def _least_variance(
    first: Float[np.ndarray, "n 3 s s"],
    second: Float[np.ndarray, "n 3 s s"],
    weights: Float[np.ndarray, "s s"],
) -> Float[np.ndarray, " n"]:
    """Returns the lesser variance of the levels, all three planes together."""

    def variance(picture: Float[np.ndarray, "n 3 s s"]) -> Float[np.ndarray, " n"]:
        mean = (picture * weights).sum((2, 3), keepdims=True)
        return ((picture - mean) ** 2 * weights).sum((1, 2, 3))

    return np.minimum(variance(first), variance(second))


def _digest(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest())
