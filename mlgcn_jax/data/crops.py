"""Random parts and random resize filters of training pictures, chosen before decoding.

They depend on the seed and the example's position in the stream alone, so that neither
threads, nor hosts, nor where a run went on change them.
"""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from mlgcn_jax.data import letterboxes, options, stored_jpeg

RESIZE_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}

OPTIONS = {
    "crop": options.Option(
        "none",
        "part of a training picture: all of it (none), a square as large as its short "
        "side (random), or a random share with random sides (random_resized)",
        choices=("none", "random", "random_resized"),
    ),
    "crop_min_area": options.Option(
        0.5, "random_resized: smallest share of the picture's area", 0.01, 1
    ),
    "crop_max_area": options.Option(
        1.0, "random_resized: largest share of the picture's area", 0.01, 1
    ),
    "crop_min_ratio": options.Option(
        3 / 4, "random_resized: smallest width to height", 0.01, 100
    ),
    "crop_max_ratio": options.Option(
        4 / 3, "random_resized: largest width to height", 0.01, 100
    ),
    "resize_filter": options.Option(
        "bilinear",
        "of training pictures; random: each of the others as often",
        choices=(*RESIZE_FILTERS, "random"),
    ),
}

_TRIES = 10  # torchvision's
# What is drawn for an example, each from a stream of its own.
_BOX, _FILTER = 0, 1


class Crop(NamedTuple):
    """How one picture is read: keywords of `stored_jpeg.letterbox`.

    Attributes:
        choose_box: (width, height) of the picture -> the part that is wanted; None:
            all.
        resample: the filter.
    """

    choose_box: stored_jpeg.ChooseBox | None = None
    resample: Image.Resampling = Image.Resampling.BILINEAR


# (seed, position of the example in the stream) -> how its picture is read.
ChooseCrop = Callable[[int, int], Crop]


def whole_picture(seed: int, position: int) -> Crop:
    """Returns the crop that is none."""
    return Crop()


def create(values: Mapping[str, Any]) -> ChooseCrop:
    """Returns what the options ask for; what is not given has its default.

    Raises:
        ValueError: there is no such option, or a value is out of its range.
    """
    chosen = options.resolve(OPTIONS, values)
    for name in ("area", "ratio"):
        low, high = chosen[f"crop_min_{name}"], chosen[f"crop_max_{name}"]
        if low > high:
            raise ValueError(
                f"crop_min_{name}={low} is larger than crop_max_{name}={high}"
            )

    box_of = {
        "none": None,
        "random": random_square,
        "random_resized": functools.partial(
            random_resized,
            area=(chosen["crop_min_area"], chosen["crop_max_area"]),
            ratio=(chosen["crop_min_ratio"], chosen["crop_max_ratio"]),
        ),
    }[chosen["crop"]]
    filters = list(RESIZE_FILTERS.values())

    def choose(seed: int, position: int) -> Crop:
        choose_box = None
        if box_of is not None:
            choose_box = functools.partial(box_of, rng=_generator(seed, position, _BOX))
        if chosen["resize_filter"] == "random":
            rng = _generator(seed, position, _FILTER)
            return Crop(choose_box, filters[rng.integers(len(filters))])
        return Crop(choose_box, RESIZE_FILTERS[chosen["resize_filter"]])

    return choose


def random_square(
    size: tuple[int, int], rng: np.random.Generator
) -> letterboxes.CropBox:
    """Returns a square as large as the short side, anywhere on the long one.

    Args:
        size: (width, height) of the picture, in px.
        rng: drawn from.
    """
    side = min(size)
    return _anywhere(side, side, size, rng)


def random_resized(
    size: tuple[int, int],
    rng: np.random.Generator,
    *,
    area: tuple[float, float],
    ratio: tuple[float, float],
) -> letterboxes.CropBox:
    """Returns a box of random area, ratio and place (Szegedy 2014, section 6).

    Area uniform, ratio uniform in its logarithm; drawn again where the box does not fit
    into the picture. Differs from torchvision where it never did in ten times: all of
    the picture, which a letterbox can hold whatever its ratio.

    Args:
        size: (width, height) of the picture, in px.
        rng: drawn from.
        area: smallest and largest, as shares of the picture's.
        ratio: smallest and largest width to height.
    """
    width, height = size
    for _ in range(_TRIES):
        box_area = rng.uniform(*area) * width * height
        box_ratio = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        box_width = round(math.sqrt(box_area * box_ratio))
        box_height = round(math.sqrt(box_area / box_ratio))
        if 1 <= box_width <= width and 1 <= box_height <= height:
            return _anywhere(box_width, box_height, size, rng)
    return 0, 0, width, height


def _anywhere(
    width: int, height: int, size: tuple[int, int], rng: np.random.Generator
) -> letterboxes.CropBox:
    left = int(rng.integers(size[0] - width + 1))
    top = int(rng.integers(size[1] - height + 1))
    return left, top, left + width, top + height


def _generator(seed: int, position: int, stream: int) -> np.random.Generator:
    return np.random.default_rng([seed, position, stream])
