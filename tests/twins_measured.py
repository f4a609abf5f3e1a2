"""How well copies of pictures are found, and what a million pictures cost.

PYTHONPATH=tests python tests/twins_measured.py [--pictures=1000000]

Every picture of the shipped sample (which has three pairs of twins by itself), drawn
scenes of 600 x 800 px and noise of 128 x 128 px are changed in several ways; each
changed picture is looked for among the pictures as they were. Right: its own original
is found; wrong: another picture is, that is no twin of the original.
"""

import pathlib
import resource
import tempfile
import time
from collections.abc import Callable, Sequence

import numpy as np
from absl import app, flags
from picture_copies import as_jpeg, cropped, fingerprint, scaled, scene
from picture_files import noise
from PIL import Image, ImageEnhance, ImageOps

from mlgcn_jax.data import archives, folders, images
from tfds_pixiv import fingerprints, twin_index

_PICTURES = flags.DEFINE_integer("pictures", 0, "Made-up fingerprints; 0 for none.")

CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half the size": lambda image: scaled(image, 0.5),
    "double the size": lambda image: scaled(image, 2),
    "JPEG 95": lambda image: as_jpeg(image, 95),
    "JPEG 75": lambda image: as_jpeg(image, 75),
    "JPEG 50": lambda image: as_jpeg(image, 50),
    "2 % cut off each side": lambda image: cropped(image, 0.02),
    "cut, half the size, JPEG 75": lambda image: as_jpeg(
        scaled(cropped(image, 0.02), 0.5), 75
    ),
    "8 levels darker": lambda image: image.point(lambda value: max(value - 8, 0)),
    "5 % brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.05),
    "mirrored": ImageOps.mirror,
}


def main(argv: list[str]) -> None:
    """Prints the figures."""
    del argv
    if _PICTURES.value:
        measure_size(_PICTURES.value)
        return
    measure_changes("sample", sample())
    measure_changes("scenes", [scene(n, size=(600, 800)) for n in range(200)])
    measure_changes("noise", [noise(128, 128, seed=n) for n in range(200)])


def sample() -> list[Image.Image]:
    """The pictures of the shipped sample that a build uses."""
    with tempfile.TemporaryDirectory() as name:
        archives.unpack(folders.SAMPLE, pathlib.Path(name))
        pictures, _ = folders.read_folder(pathlib.Path(name))
        found = []
        for picture in pictures:
            try:
                found.append(images.load_rgb(picture.path))
            except images.ImageError:
                continue
        return found


def measure_changes(name: str, pictures: Sequence[Image.Image]) -> None:
    """Prints for each change the shares of copies that are found and taken wrongly."""
    prints = np.stack([fingerprint(p, str(n)) for n, p in enumerate(pictures)])
    index = twin_index.TwinIndex(prints)
    earlier, _ = index.find_earlier()
    print(f"{name}: {len(pictures)} pictures, {(earlier >= 0).sum()} twins among them")
    # A copy of a twin may find the other one.
    stands_for = np.where(earlier >= 0, earlier, np.arange(len(pictures)))
    for change, function in CHANGES.items():
        changed = [(n, function(picture)) for n, picture in enumerate(pictures)]
        changed = [(n, p) for n, p in changed if images.is_usable_size(p.size)]
        places = np.array([n for n, _ in changed])
        queries = np.stack([fingerprint(p, "copy") for _, p in changed])
        begin = time.process_time()
        twins, _ = index.find(queries)
        each_ms = 1000 * (time.process_time() - begin) / len(queries)
        right = stands_for[twins] == stands_for[places]
        found = twins >= 0
        wrong = (found & ~right).sum()
        precision = (found & right).sum() / max(found.sum(), 1)
        print(
            f"  {change:28} recall {100 * (found & right).mean():5.1f} %  precision "
            f"{100 * precision:5.1f} %  wrong {wrong} of {len(queries)}  "
            f"{each_ms:.2f} ms CPU each"
        )


def measure_size(number: int) -> None:
    """Prints time and memory for made-up pictures; a tenth is the same one, nearly."""
    rng = np.random.default_rng(0)
    prints = np.zeros(number, fingerprints.FINGERPRINT)
    prints["work"] = np.arange(number)
    for name in ("content", "hashes"):
        prints[name] = rng.integers(0, 2**64 - 1, prints[name].shape, dtype=np.uint64)
    prints["aspect"] = rng.uniform(0.6, 1.6, number)
    side = fingerprints.THUMBNAIL_SIDE
    for part in np.array_split(prints, -(-number // 10_000)):
        part["thumbnail"] = rng.integers(0, 256, (len(part), 3, side, side))
        part["colour"] = part["thumbnail"].mean((2, 3))
    same = prints[: number // 10]
    flips = rng.integers(0, 64, len(same)).astype(np.uint64)
    for name in ("hashes", "aspect", "colour"):
        same[name] = same[name][0]
    same["hashes"][:, 0] ^= np.uint64(1) << flips
    same["thumbnail"] = same["thumbnail"][0] ^ rng.integers(
        0, 2, same["thumbnail"].shape, dtype=np.uint8
    )
    begin = time.process_time()
    index = twin_index.TwinIndex(prints)
    sorted_s = time.process_time() - begin
    begin = time.process_time()
    twins, _ = index.find_earlier()
    found_s = time.process_time() - begin
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(
        f"{number} pictures, {len(same)} of them one: {(twins >= 0).sum()} twins; "
        f"sorted in {sorted_s:.0f} s CPU, found in {found_s:.0f} s CPU; fingerprints "
        f"{prints.nbytes / 1e6:.0f} MB, peak {peak_mb:.0f} MB"
    )


if __name__ == "__main__":
    app.run(main)
