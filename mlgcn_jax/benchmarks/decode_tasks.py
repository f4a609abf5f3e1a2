"""The bound of the input pipeline: libjpeg-turbo decoding alone, in as many threads."""

import pathlib
from collections.abc import Callable
from concurrent import futures

import numpy as np

from mlgcn_jax.benchmarks import cases
from mlgcn_jax.data import dataset, images

Task = tuple[Callable[[], object], dict[str, float]]


def decode(*, batch_size: int, image_size: int, data_dir: str) -> Task:
    """JPEG bytes in memory -> pixels, for the images that the others read."""
    del batch_size, image_size
    source = dataset.open_dataset(pathlib.Path(data_dir)).source("train")
    stored = [example["image"] for example in source]
    pool = futures.ThreadPoolExecutor(cases.NUM_THREADS)

    def task() -> None:
        for _ in pool.map(lambda data: np.asarray(images.load_rgb(data)), stored):
            pass

    return task, {}


TASKS: dict[str, Callable[..., Task]] = {"P": decode}
