"""Files that are whole or not there."""

import contextlib
import os
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def written_whole(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a name beside `path` to write to; the block's end renames it to `path`.

    Where the block fails, what it wrote is removed and `path` is as it was.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
