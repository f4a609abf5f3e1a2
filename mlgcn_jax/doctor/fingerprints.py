"""What has to be the same in every process of a job: code, versions, flags, data."""

import hashlib
import os
import pathlib

import mlgcn_jax
from mlgcn_jax.data import dataset
from mlgcn_jax.devices import xla_flags
from mlgcn_jax.doctor import versions

_ENDS_BYTES = 2**16  # read of each shard, at its start and at its end


def take(data_dir: pathlib.Path | None) -> dict[str, dict[str, str]]:
    """Returns kind -> name -> what it is, to be compared between processes.

    Args:
        data_dir: Of a dataset, or None.

    """
    taken = {
        "code": code(pathlib.Path(mlgcn_jax.__file__).parent),
        "versions": versions.installed(),
        "XLA_FLAGS": xla_flags.of_user(),
    }
    if data_dir is not None:
        try:
            taken["data"] = data(data_dir)
        except (OSError, ValueError) as error:  # `decoding` says so as well
            taken["data"] = {"error": str(error)}
    return taken


def code(package: pathlib.Path) -> dict[str, str]:
    """Returns file -> checksum of the sources of a package."""
    return {
        path.relative_to(package).as_posix(): _short(path.read_bytes())
        for path in sorted(package.rglob("*.py"))
    }


def data(data_dir: pathlib.Path) -> dict[str, str]:
    """Returns checksums of a dataset: its metadata, and size and ends of each shard."""
    opened = dataset.open_dataset(data_dir)
    found = {"metadata": opened.fingerprint[:16]}
    for path in sorted(opened.directory.glob("*.array_record*")):
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            ends = file.read(_ENDS_BYTES)
            file.seek(max(0, size - _ENDS_BYTES))
            found[path.name] = f"{size} {_short(ends + file.read())}"
    return found


def differences(ours: dict[str, str], theirs: dict[str, str]) -> list[str]:
    """Returns what one has otherwise than the other, or alone, in order."""
    names = sorted(ours.keys() | theirs.keys())
    return [name for name in names if ours.get(name) != theirs.get(name)]


def _short(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
