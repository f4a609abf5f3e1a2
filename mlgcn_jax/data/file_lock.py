"""One process at a time at something; the others wait."""

import contextlib
import fcntl
import os
import pathlib
from collections.abc import Iterator

from absl import logging


@contextlib.contextmanager
def held(path: pathlib.Path, *, work: str) -> Iterator[None]:
    """Keeps others out while inside, and waits for one who is in.

    The lock goes with the process, however that ends, and its file at the end. Where
    the file system has no locks nobody is kept out.

    Args:
        path: of the file, whose folder is made.
        work: what is done inside; said where it is waited for.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                logging.info("another process is %s: waiting for it", work)
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as error:
                logging.warning("%s cannot be locked: %s", path, error)
            # Whoever was in has taken the file away: its lock keeps nobody out.
            if not _is_at(file.fileno(), path):
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _is_at(descriptor: int, path: pathlib.Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
