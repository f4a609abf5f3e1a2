"""One crawler at a time on a folder."""

import contextlib
import fcntl
import json
import os
import pathlib
import socket
from collections.abc import Iterator

_FILE = "manifest.lock"


@contextlib.contextmanager
def hold(folder: pathlib.Path, purpose: str) -> Iterator[None]:
    """Keeps every other crawler out while the block runs; a dead one keeps nobody out.

    Args:
        folder: Of the crawl.
        purpose: What another one is told.

    Raises:
        OSError: Another one is at work, or the folder cannot be written to.
    """
    with (folder / _FILE).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(
                f"{folder} is in use by {_describe_holder(file)}; wait until it ends"
            ) from None
        file.truncate(0)
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "purpose": purpose}
        file.write(json.dumps(holder))
        file.flush()
        yield


def _describe_holder(file) -> str:
    file.seek(0)
    try:
        holder = json.loads(file.read())
        return f"{holder['purpose']}, process {holder['pid']} on {holder['host']}"
    except (ValueError, KeyError, TypeError):  # it has just come and not written yet
        return "another crawler"
