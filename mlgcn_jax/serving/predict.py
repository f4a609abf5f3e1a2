"""Pictures on disk -> scores of every label, a broken picture never stops the rest.

The model sees of a picture what it would see of it in a dataset.
"""

import dataclasses
import functools
import glob
import itertools
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent import futures

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float32, Int64, UInt8

from mlgcn_jax.data import images, stored_jpeg
from mlgcn_jax.evaluation import scoring
from mlgcn_jax.runs import trained_model


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Scores of one picture, or why there are none.

    Attributes:
        path: the picture.
        scores: one per label, in the vocabulary's order; None where it is broken.
        error: what is wrong with it; None where it is not.
    """

    path: pathlib.Path
    scores: Float32[np.ndarray, " l"] | None
    error: str | None

    def ranked(self) -> Int64[np.ndarray, " l"]:
        """Returns label indices, highest score first; of equal ones the lower index.

        Empty where the picture is broken.
        """
        if self.scores is None:
            return np.empty(0, np.int64)
        return np.argsort(-self.scores, kind="stable")


def find_pictures(patterns: Sequence[str]) -> list[pathlib.Path]:
    """Returns the pictures that files, folders (searched whole) and globs name.

    A file that is named is taken whatever its suffix and whether it is there or not:
    one that cannot be read is no reason to leave the others untagged. Each is returned
    once.

    Raises:
        FileNotFoundError: a folder or glob holds no picture.
    """
    found: dict[pathlib.Path, None] = {}
    for pattern in patterns:
        path = pathlib.Path(pattern)
        if path.is_dir():
            matches = _pictures_below(path)
        elif glob.has_magic(pattern) and not path.exists():
            matches = []
            for match in map(pathlib.Path, sorted(glob.glob(pattern, recursive=True))):
                matches += _pictures_below(match) if match.is_dir() else [match]
            matches = [match for match in matches if _is_picture(match)]
        else:
            matches = [path]
        if not matches:
            raise FileNotFoundError(
                f"{pattern} holds no picture; give picture files, or folders or globs "
                f"with {', '.join(sorted(images.SUFFIXES))}"
            )
        found |= dict.fromkeys(matches)
    return list(found)


def predict(
    model: trained_model.TrainedModel,
    paths: Iterable[pathlib.Path],
    mesh: Mesh,
    *,
    batch_size: int = 32,
) -> Iterator[Prediction]:
    """Yields the prediction of every picture, in order.

    A picture's scores do not depend on its company, but for rounding (about 1e-7):
    batches of other sizes are other programs. They are those that evaluation has of the
    same file in a dataset built as the run's was. Decoding runs ahead in threads.
    """
    scorer = scoring.Scorer.of_run(model, mesh, batch_size=batch_size)
    load = functools.partial(
        _load,
        size_px=model.config.image_size,
        max_side_px=model.max_side_px,
        pad_colour=model.config.pad_colour,
    )
    with futures.ThreadPoolExecutor(model.config.num_threads) as pool:
        pending: list[tuple[list[pathlib.Path], list[futures.Future]]] = []
        remaining = iter(paths)
        while True:
            # One batch is decoded while the one before it is scored.
            while len(pending) < 2:
                chunk = list(itertools.islice(remaining, scorer.batch_size))
                if not chunk:
                    break
                pending.append((chunk, [pool.submit(load, path) for path in chunk]))
            if not pending:
                return
            chunk, decoding = pending.pop(0)
            scorer.compile(len(chunk))  # the first time, while they are decoded
            loaded = [future.result() for future in decoding]
            whole = [image for image in loaded if not isinstance(image, str)]
            scores = iter(scorer(np.stack(whole)) if whole else ())
            for path, image in zip(chunk, loaded, strict=True):
                if isinstance(image, str):
                    yield Prediction(path, scores=None, error=image)
                else:
                    yield Prediction(path, scores=next(scores), error=None)


def _pictures_below(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(path for path in folder.rglob("*") if _is_picture(path))


def _is_picture(path: pathlib.Path) -> bool:
    return path.suffix.lower() in images.SUFFIXES and not path.is_dir()


def _load(
    path: pathlib.Path, *, size_px: int, max_side_px: int | None, pad_colour: str
) -> UInt8[np.ndarray, "s s 3"] | str:
    """Returns the square that the model sees, or what is wrong with the picture."""
    try:
        return stored_jpeg.letterbox_file(
            path, size_px, max_side_px=max_side_px, pad_colour=pad_colour
        )
    except (images.ImageError, OSError) as error:
        return str(error)
