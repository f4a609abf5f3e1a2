"""Folders: may they be written to, is there room, do their locks hold."""

import fcntl
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping

from mlgcn_jax.data import files
from mlgcn_jax.doctor import findings

PART = "folders"
_GIB = 2**30
_LITTLE_BYTES = _GIB
_TOO_LITTLE_BYTES = 100 * 2**20  # a checkpoint of DenseNet-121 with Adam's moments
_LOCKS = (
    "two trainings could write to one run here: take a folder on a file system with "
    "locks (Lustre: mount -o flock; NFS: with its lock daemon)"
)


def check(folders: Mapping[str, pathlib.Path]) -> Iterator[findings.Finding]:
    """Yields findings for each folder; one that is not there yet is asked above.

    Args:
        folders: What they are for -> where they are.
    """
    for purpose, folder in folders.items():
        try:
            yield from _check(purpose, folder)
        except OSError as error:
            yield findings.failed(
                PART,
                f"{purpose} {folder}",
                error,
                advice=f"name another {purpose}, or make it writable for this user",
            )


def _check(purpose: str, folder: pathlib.Path) -> Iterator[findings.Finding]:
    there = folder.expanduser().absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    name = f"{purpose} {folder}"
    with tempfile.TemporaryDirectory(prefix=".mlgcn-doctor-", dir=there) as made:
        path = pathlib.Path(made) / "written.json"
        files.write_json(path, {"written": True})  # renames, as checkpoints do
        files.read_json(path)
        yield findings.Finding(PART, f"{name}: writing", "can be written to")
        yield _lock(f"{name}: locks", path)
    free = shutil.disk_usage(there).free
    status = "ok"
    if free < _LITTLE_BYTES:
        status = "fault" if free < _TOO_LITTLE_BYTES else "warning"
    yield findings.Finding(
        PART,
        f"{name}: free",
        f"{free / _GIB:.1f} GiB",
        expected="" if status == "ok" else f"at least {_LITTLE_BYTES / _GIB:.0f} GiB",
        status=status,
        advice="" if status == "ok" else "make room, or name a folder on another disk",
    )


def _lock(name: str, path: pathlib.Path) -> findings.Finding:
    """Returns whether a file that is locked cannot be locked again."""
    try:
        with path.open("a") as first, path.open("a") as second:
            fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return findings.Finding(PART, name, "hold")
    except OSError as error:
        found = os.strerror(error.errno or 0)
    else:
        found = "given twice"
    return findings.Finding(
        PART, name, found, expected="hold", status="fault", advice=_LOCKS
    )
