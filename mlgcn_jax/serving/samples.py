"""Held-out pictures of a dataset, tagged: what a finished run looks like."""

import itertools
import pathlib

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float32

from mlgcn_jax.data import source
from mlgcn_jax.evaluation import evaluate, scoring
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import trained_model
from mlgcn_jax.serving import contact_sheet, predict


def tag_held_out_pictures(
    model: trained_model.TrainedModel,
    data: source.Source,
    mesh: Mesh,
    *,
    count: int,
) -> tuple[pathlib.Path, list[predict.Prediction]]:
    """Writes the first pictures of the validation split to RUN/samples and tags them.

    They are scored as evaluation does it: what is stored is not encoded once more.

    Returns:
        The contact sheet, RUN/samples.png, and the predictions.
    """
    folder = model.folder.workdir / "samples"
    folder.mkdir(exist_ok=True)
    paths, true_labels = [], []
    examples = data.examples("validation")
    for index, example in enumerate(itertools.islice(examples, count)):
        path = folder / f"{index:02d}.jpg"  # not the id, which may hold anything
        path.write_bytes(example["image"])
        paths.append(path)
        true_labels.append(
            frozenset(data.vocabulary.labels[i] for i in example["labels"])
        )
    predictions = [
        predict.Prediction(path, scores, error=None)
        for path, scores in zip(paths, _scores(model, data, mesh, count), strict=True)
    ]
    sheet = model.folder.workdir / "samples.png"
    contact_sheet.save_contact_sheet(
        sheet, predictions, data.vocabulary.labels, true_labels=true_labels
    )
    return sheet, predictions


def _scores(
    model: trained_model.TrainedModel, data: source.Source, mesh: Mesh, count: int
) -> Float32[np.ndarray, "n l"]:
    config = model.config
    batch_size = meshes.round_up_batch_size(count, mesh)
    scorer = scoring.Scorer(
        model.graphdef, mesh, image_size=config.image_size, batch_size=batch_size
    )
    scorer.load(model.variables, model.graph)
    return evaluate.predict_split(
        scorer,
        data,
        "validation",
        image_size=config.image_size,
        batch_size=batch_size,
        num_threads=config.num_threads,
        share=slice(count),
        pad_colour=config.pad_colour,
    ).scores
