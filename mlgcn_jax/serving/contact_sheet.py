"""A picture of predictions: each image with its best labels and their scores."""

import pathlib
from collections.abc import Sequence

import numpy as np

from mlgcn_jax.data import contact_sheet, images
from mlgcn_jax.serving import predict


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
    contact_sheet.save(path, tiles, columns=columns)


def _tile(
    prediction: predict.Prediction, labels: Sequence[str], true: frozenset[str]
) -> contact_sheet.Tile:
    assert prediction.scores is not None
    lines = []
    for index in prediction.ranked()[: contact_sheet.LINES_SHOWN]:
        is_true = labels[index] in true
        text = f"{prediction.scores[index]:.2f}  {labels[index]}{' *' * is_true}"
        lines.append(contact_sheet.Line(text, is_true))
    return contact_sheet.Tile(np.asarray(images.load_rgb(prediction.path)), lines)
