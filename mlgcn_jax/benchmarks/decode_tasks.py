"""The bound of the input pipeline: libjpeg-turbo decoding alone, in as many threads."""

import pathlib
from collections.abc import Callable
from concurrent import futures

import numpy as np
import simplejpeg

from mlgcn_jax.benchmarks import tasks
from mlgcn_jax.data import dataset


def decode(
    *,
    batch_size: int,
    image_size: int,
    folder: str,
    num_threads: int,
) -> tasks.Task:
    """JPEG bytes in memory -> pixels, for the images that the others read.

    The quickest way there is: each thread has its share from the start, and decodes it
    into one buffer that stays in its cache.
    """
    del batch_size
    source = dataset.open_dataset(pathlib.Path(folder)).examples("train")
    stored = [example["image"] for example in source]
    pool = futures.ThreadPoolExecutor(num_threads)

    def decode_share(first: int) -> None:
        pixels = np.empty((image_size, image_size, 3), np.uint8)
        for data in stored[first::num_threads]:
            simplejpeg.decode_jpeg(data, buffer=pixels)

    def task() -> None:
        list(pool.map(decode_share, range(num_threads)))

    return tasks.Task(task, {"images": len(stored)})


TASKS: dict[str, Callable[..., tasks.Task]] = {"P": decode}
