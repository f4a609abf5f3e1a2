"""A whole training run, the same for both frameworks but for the flips' random numbers.

What they share is written once by `prepare`: config, label graph, initial weights, the
learning rate of every step. Batches come from our input pipeline on both sides, so that
they are the same ones in the same order; measure P compares the input by itself.
"""

import contextlib
import pathlib
import time
from collections.abc import Callable
from typing import Any, Protocol

import jax
import ml_collections
import numpy as np
from flax import nnx
from jaxtyping import Float32, UInt8

from mlgcn_jax.data import config_dict, dataset, files, input_pipeline
from mlgcn_jax.evaluation import evaluate, metrics
from mlgcn_jax.graph import from_dataset, label_graph
from mlgcn_jax.models import torch_weights
from mlgcn_jax.runs import epochs
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.training import program

# What runs with the quick start's config reach some epochs before their end.
THRESHOLD_MAP = 0.45


class Prepared:
    """What `prepare` wrote, read again by each side."""

    def __init__(self, folder: pathlib.Path):
        """Reads all but the weights."""
        config: config_dict.ConfigDict = ml_collections.ConfigDict(
            files.read_json(folder / "config.json")
        )
        self.config = config
        self.data = dataset.open_dataset(pathlib.Path(config.data_dir))
        self.graph, _ = label_graph.load_label_graph(folder / "label_graph.npz")
        self.learning_rates = np.load(folder / "learning_rates.npy").tolist()
        self._weights = folder / "weights.npz"

    def read_weights(self) -> dict[str, np.ndarray]:
        """Returns the initial weights with PyTorch's names and layouts."""
        with np.load(self._weights) as weights:
            return dict(weights)


class Side(Protocol):
    """A framework with a model on the device."""

    def update(self, batch: dict[str, np.ndarray], learning_rate: float) -> None:
        """Does one step."""
        ...

    def begin_scoring(self) -> None:
        """Gets ready for `score` with what was learnt so far."""
        ...

    def score(self, image: UInt8[np.ndarray, "b h w 3"]) -> Float32[np.ndarray, "b l"]:
        """Returns sigmoid scores."""
        ...


def epochs_of(
    config: config_dict.ConfigDict, data: dataset.Dataset
) -> tuple[epochs.Epochs, int]:
    """Returns epochs and the steps of the run, as `mlgcn train` counts them."""
    passes = epochs.Epochs(data.num_examples("train"), config.batch_size)
    return passes, passes.first_step(config.num_epochs)


def prepare(config: config_dict.ConfigDict, folder: pathlib.Path) -> None:
    """Writes what both sides start from."""
    data = dataset.open_dataset(pathlib.Path(config.data_dir))
    passes, num_steps = epochs_of(config, data)
    made = program.create_program(
        config,
        meshes.create_mesh(),
        num_labels=len(data.vocabulary),
        steps_per_epoch=passes.steps_per_epoch,
        num_steps=num_steps,
    )
    graph, counted = from_dataset.create_label_graph(config.graph, data)
    files.write_json(folder / "config.json", config.to_dict())
    label_graph.save_label_graph(folder / "label_graph.npz", graph, counted)
    variables = jax.device_get(made.create_state().variables)
    weights = torch_weights.to_torch(
        *variables, model=nnx.merge(made.graphdef, *variables)
    )
    np.savez(folder / "weights.npz", **weights)  # pyright: ignore[reportArgumentType]
    rates = np.array([made.schedule(step) for step in range(num_steps)], np.float32)
    np.save(folder / "learning_rates.npy", rates)


def run(
    folder: pathlib.Path,
    create: Callable[[Prepared], Side],
    *,
    threshold_map: float,
) -> dict[str, Any]:
    """Trains to the end and says how long the way to the threshold was.

    Returns:
        `start_s`: until the first update was made and a batch scored, so with all that
        is compiled. `to_threshold_s`: until validation mAP had reached the threshold,
        evaluations and start included; None where it never did. `total_s`: until the
        end. `mAP`: at the end.
    """
    begin = time.perf_counter()
    prepared = Prepared(folder)
    config = prepared.config
    passes, num_steps = epochs_of(config, prepared.data)
    side = create(prepared)
    reading = {
        name: config[name] for name in ("image_size", "batch_size", "num_threads")
    }
    batches = input_pipeline.train_batches(
        prepared.data, seed=config.seed, start_step=0, **reading
    )
    start_s = to_threshold_s = value = None
    with contextlib.closing(batches):
        for step, rate in enumerate(prepared.learning_rates, start=1):
            batch = next(batches)
            side.update(batch, rate)
            if start_s is None:
                side.begin_scoring()
                side.score(batch["image"])
                start_s = time.perf_counter() - begin
            is_due = passes.is_due(step, every=config.evaluate_every_epochs)
            if is_due or step == num_steps:
                side.begin_scoring()
                predictions = evaluate.predict_split(
                    side.score, prepared.data, "validation", **reading
                )
                value = metrics.compute_metrics(predictions.scores, predictions.labels)[
                    "mAP"
                ]
                if to_threshold_s is None and value >= threshold_map:
                    to_threshold_s = time.perf_counter() - begin
    return {
        "start_s": start_s,
        "to_threshold_s": to_threshold_s,
        "total_s": time.perf_counter() - begin,
        "mAP": value,
    }
