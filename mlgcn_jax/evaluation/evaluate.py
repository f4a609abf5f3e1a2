"""Scores of every example of a split, each exactly once, and what they amount to."""

import contextlib
import csv
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from absl import logging
from jax.sharding import Mesh
from jaxtyping import Bool, Float32, Int64

from mlgcn_jax.data import (
    config_dict,
    constant_labels,
    files,
    input_pipeline,
    source,
)
from mlgcn_jax.evaluation import metrics, scoring
from mlgcn_jax.runs import run_folder, trained_model


class Predictions(NamedTuple):
    """Scores and labels of the n examples of a split, in the dataset's order."""

    scores: Float32[np.ndarray, "n l"]
    labels: Bool[np.ndarray, "n l"]
    ids: np.ndarray
    pages: Int64[np.ndarray, " n"]


class Evaluation(NamedTuple):
    """What `metrics.compute_metrics` and `metrics.per_label_metrics` say of a split."""

    metrics: dict[str, Any]
    per_label: dict[str, np.ndarray]


def predict_split(
    scorer: Callable[[np.ndarray], np.ndarray],
    data: source.Source,
    split: str,
    *,
    image_size: int,
    batch_size: int,
    num_threads: int,
    before_batch: Callable[[], None] = lambda: None,
    share: slice = slice(None),
    pad_colour: str = "black",
) -> Predictions:
    """Returns the scores of every example of a split; padding is left out.

    `scorer` is a `scoring.Scorer`, or does as one. `before_batch` is called before each
    batch is scored; what it raises ends the work. Of the split only the examples of
    `share` are scored. `pad_colour` is that of the border, one of
    `letterboxes.PAD_COLOURS`.

    Raises:
        ValueError: the examples do not come out exactly once.
    """
    parts = []
    batches = input_pipeline.evaluation_batches(
        data,
        split,
        image_size=image_size,
        batch_size=batch_size,
        num_threads=num_threads,
        share=share,
        pad_colour=pad_colour,
    )
    with contextlib.closing(batches):
        for batch in batches:
            before_batch()
            mask = batch["mask"]
            scores = scorer(batch["image"])
            parts.append(
                Predictions(
                    scores[mask],
                    batch["labels"][mask] > 0,
                    batch["id"][mask],
                    batch["page"][mask],
                )
            )
    predictions = Predictions(*(np.concatenate(p) for p in zip(*parts, strict=True)))
    expected = len(range(data.num_examples(split))[share])
    if len(predictions.ids) != expected:
        raise ValueError(
            f"scored {len(predictions.ids)} examples of the {split} split, expected "
            f"{expected}"
        )
    return predictions


def predict_split_of_run(
    scorer: scoring.Scorer,
    config: config_dict.ConfigDict,
    data: source.Source,
    split: str,
    *,
    share: slice = slice(None),
) -> Predictions:
    """Returns what `predict_split` does, of images as a run's config reads them."""
    return predict_split(
        scorer,
        data,
        split,
        image_size=config.image_size,
        batch_size=scorer.batch_size,
        num_threads=config.num_threads,
        share=share,
        pad_colour=config.pad_colour,
    )


def evaluate_run(
    model: trained_model.TrainedModel,
    data: source.Opened,
    mesh: Mesh,
    *,
    split: str,
) -> Evaluation:
    """Evaluates a run and writes metrics.json, per_label.csv and predictions.npz.

    Its metrics are those of `metrics.compute_metrics` with what they were made of, and
    with `examples_without_labels` (a number) and `labels_in_nearly_all_examples`
    (names; see `constant_labels`), whose score says nothing of the model.

    Raises:
        ValueError: the dataset has other labels than the run.
    """
    if data.vocabulary.labels != model.vocabulary.labels:
        raise ValueError(
            f"{data.directory} has other labels than the run in "
            f"{model.folder.workdir}; build it with --labels={model.folder.labels}"
        )
    if data.fingerprint != model.folder.read_dataset()["fingerprint"]:
        logging.warning(
            "%s is another dataset than the run was trained on: its %s split may hold "
            "pictures that the run has seen",
            data.directory,
            split,
        )
    fitting = model.config.batch_size // model.config.accumulation_steps
    scorer = scoring.Scorer.of_run(model, mesh, batch_size=fitting)
    predictions = predict_split_of_run(scorer, model.config, data, split)
    scores, labels = predictions.scores, predictions.labels
    computed = metrics.compute_metrics(scores, labels)
    names = model.vocabulary.labels
    constant = constant_labels.find(labels.sum(axis=0), len(labels))
    results = {
        "split": split,
        "step": model.step,
        "dataset_fingerprint": data.fingerprint,
        **computed,
        "examples_without_labels": int((~labels.any(axis=1)).sum()),
        "labels_in_nearly_all_examples": [names[index] for index in constant],
    }
    per_label = metrics.per_label_metrics(scores, labels)
    _write_predictions(model.folder.predictions, predictions, names)
    _write_per_label(model.folder.per_label, per_label, names)
    files.write_json(model.folder.metrics, results)
    return Evaluation(results, per_label)


def read_metrics(
    folder: run_folder.RunFolder, data: source.Source, *, split: str, step: int
) -> dict[str, Any] | None:
    """Returns what `evaluate_run` wrote, None where that was of anything else."""
    try:
        found = files.read_json(folder.metrics)
    except (FileNotFoundError, ValueError):  # never evaluated, or the file is damaged
        return None
    wanted = {"split": split, "step": step, "dataset_fingerprint": data.fingerprint}
    return found if wanted.items() <= found.items() else None


def _write_predictions(
    path: pathlib.Path, predictions: Predictions, names: tuple[str, ...]
) -> None:
    with files.written_whole(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            scores=predictions.scores,
            labels=predictions.labels,
            id=predictions.ids,
            page=predictions.pages,
            label_names=np.array(names),
        )


def _write_per_label(
    path: pathlib.Path, columns: dict[str, np.ndarray], names: tuple[str, ...]
) -> None:
    with files.written_whole(path) as temporary:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["label", *columns])
            for name, *values in zip(names, *columns.values(), strict=True):
                # NaN, where a value is undefined, becomes an empty cell.
                writer.writerow([name, *("" if v != v else v for v in values)])
