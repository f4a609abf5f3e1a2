"""A crawl folder of pictures as large as a crawl stores them, for the input measure."""

import json
import pathlib

import numpy as np
from PIL import Image

from mlgcn_jax.benchmarks import cases

NUM_PICTURES = 2048  # so many that the first batches, into new memory, are few
SIZE_PX = 512


def make_crawl_folder(folder: pathlib.Path) -> pathlib.Path:
    """Writes pictures of coloured shapes with soft edges; returns the folder.

    About 50 kB each as JPEG, as illustrations are; noise would be several times that
    and decode several times as slowly.
    """
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    with (folder / "metadata.jsonl").open("w") as lines:
        for index in range(NUM_PICTURES):
            small = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
            picture = Image.fromarray(small).resize(
                (SIZE_PX, SIZE_PX), Image.Resampling.BICUBIC
            )
            file = f"images/{index}.jpg"
            picture.save(folder / file, quality=95)
            tags = [f"label {index % cases.NUM_LABELS}"]
            lines.write(json.dumps({"id": index, "file": file, "tags": tags}) + "\n")
    return folder
