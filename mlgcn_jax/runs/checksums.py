"""Checksums of files, kept beside them: bits that flip later do not go unnoticed."""

import hashlib
import pathlib
from collections.abc import Iterable

from mlgcn_jax.data import files

FILE_NAME = "checksums.json"


def write(folder: pathlib.Path, paths: Iterable[pathlib.Path]) -> None:
    """Writes the SHA-256 of files somewhere below the folder to its checksums.json."""
    checksums = {
        path.relative_to(folder).as_posix(): sha256(path) for path in sorted(paths)
    }
    files.write_json(folder / FILE_NAME, checksums)


def find_damage(folder: pathlib.Path) -> str | None:
    """Returns what is wrong with the files that were written, None if nothing."""
    try:
        checksums = files.read_json(folder / FILE_NAME)
    except FileNotFoundError:
        return f"{FILE_NAME} is missing"
    except ValueError as error:
        return str(error)
    for name, expected in checksums.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if sha256(path) != expected:
            return f"{name} has changed since it was saved (checksum)"
    return None


def sha256(path: pathlib.Path) -> str:
    """Returns the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
