"""Small crawl folders of drawn pictures and datasets of them, for the tests."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from mlgcn_jax.data import dataset
from tfds_pixiv import tfds_pixiv_dataset_builder

SHAPES = ("circle", "square", "triangle")
COLOURS = {"red": (220, 30, 30), "green": (20, 160, 60), "blue": (40, 60, 220)}
LABELS = (*SHAPES, *COLOURS)
# What `make_crawl_folder` is given for the datasets in `old_runs/`.
OF_OLD_RUNS: dict[str, Any] = {"num_works": 24, "size": (32, 32)}


def draw(shape: str, colour: str, *, size: tuple[int, int], seed: int) -> Image.Image:
    """A shape of a colour, somewhere on light noise, so that no two are the same."""
    rng = np.random.default_rng(seed)
    width, height = size
    noise = rng.integers(200, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    radius = min(size) // 4
    x = int(rng.integers(radius, width - radius))
    y = int(rng.integers(radius, height - radius))
    box = (x - radius, y - radius, x + radius, y + radius)
    pen = ImageDraw.Draw(image)
    if shape == "circle":
        pen.ellipse(box, fill=COLOURS[colour])
    elif shape == "square":
        pen.rectangle(box, fill=COLOURS[colour])
    else:
        pen.regular_polygon((x, y, radius), 3, fill=COLOURS[colour])
    return image


def add_picture(
    folder: Path, image: Image.Image | bytes, *, id: int, tags: list[str], page: int = 0
) -> dict[str, Any]:
    """Adds a picture (or any bytes as one) and its metadata line; returns the entry."""
    file = folder / "images" / f"{id}_p{page}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(image, bytes):
        file.write_bytes(image)
    else:
        image.save(file)
    entry = {
        "id": id,
        "page": page,
        "file": f"images/{file.name}",
        "tags": tags,
        "title": f"work {id}",
        "user": f"user {id % 3}",
    }
    with (folder / "metadata.jsonl").open("a", encoding="utf-8") as metadata:
        metadata.write(json.dumps(entry) + "\n")
    return entry


def picture_of(folder: Path, example: dict[str, Any]) -> Path:
    """The file of a crawl folder that an example of its dataset was made of."""
    return folder / "images" / f"{example['id']}_p{example['page']}.png"


def make_crawl_folder(
    folder: Path, *, num_works: int = 24, size: tuple[int, int] = (48, 64)
) -> Path:
    """Makes a crawl folder with a labels.csv; every fourth work has two pages.

    Its labels are LABELS: every work has a shape and a colour, and the tag "drawing",
    which is no label.
    """
    for index in range(num_works):
        shape = SHAPES[index % 3]
        colour = list(COLOURS)[(index // 3) % 3]
        for page in range(2 if index % 4 == 0 else 1):
            image = draw(shape, colour, size=size, seed=2 * index + page)
            tags = [shape, colour.upper(), "drawing"]
            add_picture(folder, image, id=1000 + index, page=page, tags=tags)
    rows = "".join(f"{label},\n" for label in LABELS)
    (folder / "labels.csv").write_text(f"label,aliases\n{rows}", encoding="utf-8")
    return folder


def build_dataset(folder: Path, data_dir: Path, **settings: Any) -> dataset.Dataset:
    """Builds a dataset; `settings` are those of PixivConfig."""
    config = tfds_pixiv_dataset_builder.PixivConfig(
        name="test", folder=folder, **settings
    )
    builder = tfds_pixiv_dataset_builder.Builder(data_dir=data_dir, config=config)
    builder.download_and_prepare()
    return dataset.open_dataset(data_dir)
