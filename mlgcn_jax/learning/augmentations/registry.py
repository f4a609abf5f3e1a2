"""The one registry: options -> the augmentation that a training step does."""

import functools
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from mlgcn_jax.data import letterboxes, options
from mlgcn_jax.learning.augmentations import (
    colour,
    contract,
    cutmix,
    erasing,
    flip,
    foreign,
    mixup,
    rotation,
)


class _Entry(NamedTuple):
    """An augmentation of ours.

    Attributes:
        options: the one that has the augmentation's name turns it on, unless it is 0.
        create: values of all options, and "pad_colour" -> the augmentation.
    """

    options: Mapping[str, options.Option]
    create: Callable[[Mapping[str, Any]], contract.Augmentation]


# name -> entry, in the order in which they are done. Those that tell picture from
# border come before the flip, which may shift that by a column (see `flip`), and those
# that mix come last: what is mixed has no single picture any more.
_BEFORE_FOREIGN = {
    "brightness": _Entry(
        colour.BRIGHTNESS,
        lambda values: functools.partial(
            colour.jitter_brightness, strength=values["brightness"]
        ),
    ),
    "contrast": _Entry(
        colour.CONTRAST,
        lambda values: functools.partial(
            colour.jitter_contrast, strength=values["contrast"]
        ),
    ),
    "saturation": _Entry(
        colour.SATURATION,
        lambda values: functools.partial(
            colour.jitter_saturation, strength=values["saturation"]
        ),
    ),
    "greyscale": _Entry(
        colour.GREYSCALE,
        lambda values: functools.partial(
            colour.make_grey, probability=values["greyscale"]
        ),
    ),
    "rotation": _Entry(
        rotation.OPTIONS,
        lambda values: functools.partial(
            rotation.rotate,
            degrees=values["rotation"],
            pad_colour=values["pad_colour"],
        ),
    ),
    "erasing": _Entry(
        erasing.OPTIONS,
        lambda values: functools.partial(
            erasing.erase,
            probability=values["erasing"],
            area=(values["erasing_min_area"], values["erasing_max_area"]),
            max_ratio=values["erasing_max_ratio"],
            fill=values["erasing_fill"],
        ),
    ),
}
_AFTER_FOREIGN = {
    "flip": _Entry(flip.OPTIONS, lambda values: flip.flip_horizontally),
    "cutmix": _Entry(
        cutmix.OPTIONS,
        lambda values: functools.partial(
            cutmix.cut_mix, probability=values["cutmix"], alpha=values["cutmix_alpha"]
        ),
    ),
    "mixup": _Entry(
        mixup.OPTIONS,
        lambda values: functools.partial(
            mixup.mix_up, probability=values["mixup"], alpha=values["mixup_alpha"]
        ),
    ),
}
_OF_PAIRS = ("cutmix", "mixup")

_FOREIGN = {
    "foreign": options.Option(
        (), "augmentations of other packages, each as package.module:function"
    )
}
OPTIONS: dict[str, options.Option] = _FOREIGN | {
    name: option
    for entry in (_BEFORE_FOREIGN | _AFTER_FOREIGN).values()
    for name, option in entry.options.items()
}


def check(values: Mapping[str, Any], *, batch_size: int) -> None:
    """Checks the options of a run, before anything is compiled.

    Args:
        values: of some of OPTIONS, the others have their defaults.
        batch_size: over all devices.

    Raises:
        ValueError: there is no such option, a value is out of its range, a foreign
            augmentation does not keep the contract, or there is nothing to mix with.
    """
    create(values)
    for name in _OF_PAIRS:
        if values.get(name) and batch_size < 2:
            raise ValueError(
                f"{name}={values[name]} mixes images of a batch with each other, and "
                f"batch_size={batch_size}; use at least 2, or {name}=0"
            )


def create(
    values: Mapping[str, Any], *, pad_colour: str = "black"
) -> contract.Augmentation:
    """Returns the augmentations that the options turn on, as one.

    The flip draws from the key itself, each other from a key of its own, made of its
    name: what else is on changes nothing of what one draws.

    Args:
        values: of some of OPTIONS, the others have their defaults.
        pad_colour: of the border, one of `letterboxes.PAD_COLOURS`.

    Raises:
        ValueError: as `check`.
    """
    resolved = options.resolve(OPTIONS, values)
    low, high = resolved["erasing_min_area"], resolved["erasing_max_area"]
    if low > high:
        raise ValueError(
            f"erasing_min_area={low} is larger than erasing_max_area={high}"
        )
    names = list(resolved["foreign"])
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"augmentation {', '.join(twice)} is named twice in foreign; it would draw "
            "the same random numbers twice"
        )
    letterboxes.check_pad_colour(pad_colour)
    resolved["pad_colour"] = pad_colour
    steps = (
        _turned_on(_BEFORE_FOREIGN, resolved)
        | {name: foreign.load(name) for name in names}
        | _turned_on(_AFTER_FOREIGN, resolved)
    )

    def augment(batch: contract.Batch, key: jax.Array) -> contract.Batch:
        for name, step in steps.items():
            batch = step(batch, key if name == "flip" else _key_of(name, key))
        return batch

    return augment


def _turned_on(
    entries: Mapping[str, _Entry], values: Mapping[str, Any]
) -> dict[str, contract.Augmentation]:
    return {n: entry.create(values) for n, entry in entries.items() if values[n]}


def _key_of(name: str, key: jax.Array) -> jax.Array:
    return jax.random.fold_in(key, zlib.crc32(name.encode()))
