"""Tags pictures with a run.

mlgcn predict RUN PICTURES... [--json=OUT] [--threshold=0.5]

PICTURES are files, folders (searched whole) or quoted globs. The screen shows the
labels with a score of at least the threshold, or the best one in brackets where none
has; --json writes every score, one object a line: {"file": ..., "scores": {...}}, or
{"file": ..., "error": ...} for a picture that is broken. --json=- writes them to
standard output instead of the text.
"""

import contextlib
import json
import pathlib
import sys
from collections.abc import Iterator
from typing import IO

from absl import app, flags, logging

from mlgcn_jax.commands import chosen_step
from mlgcn_jax.data import constant_labels, files
from mlgcn_jax.devices import compilation_cache
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import trained_model
from mlgcn_jax.serving import predict

_JSON = flags.DEFINE_string("json", None, "JSON-lines file, or - for standard output.")
_THRESHOLD = flags.DEFINE_float("threshold", 0.5, "Lowest score shown on the screen.")
flags.adopt_module_key_flags(chosen_step)


def main(argv: list[str]) -> int:
    """Runs the stage; returns 1 where a picture could not be tagged."""
    if len(argv) < 3:
        raise app.UsageError(f"expected a run and pictures, found {argv[1:]}")
    paths = predict.find_pictures(argv[2:])
    compilation_cache.enable()
    mesh = meshes.create_mesh()
    model = trained_model.open_run(
        pathlib.Path(argv[1]), mesh, step=chosen_step.STEP.value
    )
    labels = model.vocabulary.labels
    seen = {"train": (model.counted.counts, model.counted.num_examples)}
    for note in constant_labels.notes(labels, seen):
        logging.warning("%s", note)
    num_broken = 0
    with _json_lines(_JSON.value) as lines:
        for prediction in predict.predict(model, paths, mesh):
            if prediction.error is not None:
                num_broken += 1
                logging.warning("%s: %s", prediction.path, prediction.error)
            if lines is not None:
                lines.write(to_json(prediction, labels) + "\n")
            if _JSON.value != "-" and prediction.error is None:
                print(to_text(prediction, labels, threshold=_THRESHOLD.value))
    if num_broken:
        logging.warning("%d of %d pictures could not be tagged", num_broken, len(paths))
    return 1 if num_broken else 0


def to_json(prediction: predict.Prediction, labels: tuple[str, ...]) -> str:
    """Returns one line of JSON, labels from the highest score down."""
    if prediction.scores is None:
        content = {"file": str(prediction.path), "error": prediction.error}
    else:
        scores = {
            labels[i]: round(float(prediction.scores[i]), 6)
            for i in prediction.ranked()
        }
        content = {"file": str(prediction.path), "scores": scores}
    return json.dumps(content, ensure_ascii=False)


def to_text(
    prediction: predict.Prediction, labels: tuple[str, ...], *, threshold: float
) -> str:
    """Returns one line for the screen."""
    assert prediction.scores is not None
    ranked = [(labels[i], prediction.scores[i]) for i in prediction.ranked()]
    chosen = [f"{label} {score:.2f}" for label, score in ranked if score >= threshold]
    if not chosen:
        chosen = [f"({ranked[0][0]} {ranked[0][1]:.2f})"]
    return f"{prediction.path}: {', '.join(chosen)}"


@contextlib.contextmanager
def _json_lines(name: str | None) -> Iterator[IO[str] | None]:
    """Opens the output; a file appears under its name only once it is whole."""
    if name is None:
        yield None
    elif name == "-":
        yield sys.stdout
    else:
        with files.written_whole(pathlib.Path(name)) as temporary:
            with temporary.open("w", encoding="utf-8") as lines:
                yield lines
