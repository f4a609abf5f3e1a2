"""Held-out pictures of a dataset, tagged: what a finished run looks like."""

import itertools
import pathlib

from jax.sharding import Mesh

from mlgcn_jax.data import source
from mlgcn_jax.evaluation import evaluate, scoring
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
    scorer = scoring.Scorer.of_run(model, mesh, batch_size=count)
    scored = evaluate.predict_split_of_run(
        scorer, model.config, data, "validation", share=slice(count)
    )
    predictions = [
        predict.Prediction(path, scores, error=None)
        for path, scores in zip(paths, scored.scores, strict=True)
    ]
    sheet = model.folder.workdir / "samples.png"
    contact_sheet.save_contact_sheet(
        sheet, predictions, data.vocabulary.labels, true_labels=true_labels
    )
    return sheet, predictions
