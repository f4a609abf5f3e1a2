"""A picture of what the model sees: images of a training batch, augmented."""

import pathlib
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jaxtyping import Float32

from mlgcn_jax.data import contact_sheet
from mlgcn_jax.devices import compiler
from mlgcn_jax.learning.augmentations import contract


def save(
    path: pathlib.Path,
    batch: Mapping[str, np.ndarray],
    labels: Sequence[str],
    augment: contract.Augmentation,
    key: jax.Array,
    *,
    count: int = 16,
    columns: int = 4,
) -> None:
    """Writes a PNG with the first images of a batch and their labels, largest first.

    A label that is not wholly the image's own, as images were mixed, has its share
    before it.

    Args:
        path: of the PNG.
        batch: of `input_pipeline.train_batches`, whole: its images may be mixed.
        labels: names, in the vocabulary's order.
        augment: of `augmentations.registry.create`.
        key: that of the step which is shown.
        count: of images, at most.
        columns: of the sheet.
    """
    seen = jax.device_get(compiler.jit(augment)(dict(batch), key))
    tiles = [
        contact_sheet.Tile(image, _lines(row, labels))
        for image, row in zip(seen["image"][:count], seen["labels"], strict=False)
    ]
    contact_sheet.save(path, tiles, columns=columns)


def _lines(
    row: Float32[np.ndarray, " l"], labels: Sequence[str]
) -> list[contact_sheet.Line]:
    lines = []
    for index in np.argsort(-row, kind="stable"):
        share, name = row[index], labels[int(index)]
        if share == 1:
            lines.append(contact_sheet.Line(name, True))
        elif share > 0:
            lines.append(contact_sheet.Line(f"{share:.2f}  {name}", False))
    return lines
