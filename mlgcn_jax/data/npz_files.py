"""Reads .npz files; apart from `files`, so that what reads JSON needs no NumPy."""

import pathlib

import numpy as np


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns the arrays in an .npz file by name; nothing in it is unpickled.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or something else.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return dict(archive)
    except FileNotFoundError:
        raise
    except Exception as error:  # of zipfile, zlib and NumPy, of any kind
        raise ValueError(f"{path} is damaged, or no .npz file ({error})") from error
