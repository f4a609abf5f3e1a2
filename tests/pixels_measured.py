"""What prediction loses where it sees other pixels than training, and the time of each.

PYTHONPATH=tests python tests/pixels_measured.py RUN

RUN is a run on the shipped sample. Its validation pictures are scored as they are
stored, as `mlgcn evaluate` does it; from their files straight: letterboxed without the
way through a dataset; and from their files as `mlgcn predict` does it. Then pictures
as large as illustrations are, mosaics of the sample, are decoded in both ways.
"""

import pathlib
import tempfile
import time
from collections.abc import Callable, Sequence

import crawl_folders
import numpy as np
from absl import app
from jax.sharding import Mesh
from PIL import Image

from mlgcn_jax.data import archives, dataset, folders, images, letterboxes, stored_jpeg
from mlgcn_jax.evaluation import evaluate, metrics, scoring
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import trained_model

BATCH_SIZE = 16
ROUNDS = 9
MOSAICS = {"JPEG": (850, 1200), "PNG": (850, 1200)}


def main(argv: list[str]) -> None:
    """Prints the figures."""
    mesh = meshes.create_mesh()
    model = trained_model.open_run(pathlib.Path(argv[1]), mesh)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        archives.unpack(folders.SAMPLE, folder)
        paths = measure_scores(model, mesh, folder)
        measure_time("sample", paths[:200], model)
        for format, size in MOSAICS.items():
            path = folder / format
            mosaic(paths, size).save(path, format)
            measure_time(f"{size[0]} x {size[1]} {format}", [path], model)


def measure_scores(
    model: trained_model.TrainedModel, mesh: Mesh, folder: pathlib.Path
) -> list[pathlib.Path]:
    """Prints mAP and what scores differ by; returns the validation pictures."""
    directory = model.folder.read_dataset()["directory"]
    data = dataset.open_dataset(pathlib.Path(directory))
    size_px = model.config.image_size
    scorer = scoring.Scorer.of_run(model, mesh, batch_size=BATCH_SIZE)
    stored = evaluate.predict_split_of_run(scorer, model.config, data, "validation")
    paths = [
        crawl_folders.picture_of(folder, example).with_suffix(".jpg")
        for example in data.examples("validation")
    ]
    print(f"{len(paths)} pictures, max_side_px={model.max_side_px}, {size_px} px")
    report("stored", stored.scores, stored)
    for name, load in ways(model).items():
        squares = np.stack([load(path) for path in paths])
        parts = [
            scorer(squares[start : start + BATCH_SIZE])
            for start in range(0, len(squares), BATCH_SIZE)
        ]
        report(name, np.concatenate(parts), stored)
    return paths


def ways(
    model: trained_model.TrainedModel,
) -> dict[str, Callable[[pathlib.Path], np.ndarray]]:
    size_px, pad_colour = model.config.image_size, model.config.pad_colour
    return {
        "straight": lambda path: letterboxes.letterbox(
            images.load_rgb(path), size_px, pad_colour=pad_colour
        ),
        "as stored": lambda path: stored_jpeg.letterbox_file(
            path, size_px, max_side_px=model.max_side_px, pad_colour=pad_colour
        ),
    }


def report(name: str, scores: np.ndarray, stored: evaluate.Predictions) -> None:
    computed = metrics.compute_metrics(scores, stored.labels)
    difference = np.abs(scores - stored.scores)
    changed = ((scores >= 0.5) != (stored.scores >= 0.5)).sum()
    print(
        f"  {name:10} mAP {100 * computed['mAP']:.2f}  scores differ by "
        f"{difference.mean():.5f} in the mean, {difference.max():.3f} at most; "
        f"{changed} labels change sides"
    )


def measure_time(
    name: str, paths: Sequence[pathlib.Path], model: trained_model.TrainedModel
) -> None:
    """Prints the milliseconds of CPU for a picture, both ways in turns."""
    seconds = {way: [] for way in ways(model)}
    for _ in range(ROUNDS):
        for way, load in ways(model).items():
            begin = time.thread_time()
            for path in paths:
                load(path)
            seconds[way].append((time.thread_time() - begin) / len(paths))
    before, after = (1000 * float(np.median(taken)) for taken in seconds.values())
    print(f"  {name}: {before:.2f} -> {after:.2f} ms, ratio {after / before:.2f}")


def mosaic(paths: Sequence[pathlib.Path], size: tuple[int, int]) -> Image.Image:
    """Three by four pictures of a sample, enlarged."""
    width, height = size[0] // 3, size[1] // 4
    whole = Image.new("RGB", size)
    for place, path in enumerate(paths[:12]):
        part = images.load_rgb(path).resize((width, height))
        whole.paste(part, (place % 3 * width, place // 3 * height))
    return whole


if __name__ == "__main__":
    app.run(main)
