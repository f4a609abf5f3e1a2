"""Files that are whole or not there; JSON files whose damage is told by name."""

import contextlib
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def written_whole(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a name beside `path` to write to; the block's end renames it to `path`.

    Where the block fails, what it wrote is removed and `path` is as it was. Two
    processes that write the same file do not meet; the last one stays.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: pathlib.Path, content: Any) -> None:
    """Writes a JSON file that is either whole or not there."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """Returns the object in a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no JSON, or JSON of something else than an object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # of UnicodeDecodeError too
        raise ValueError(
            f"{path} is damaged ({error}); restore it from a copy"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} is damaged (it holds a {type(content).__name__}, expected an "
            "object); restore it from a copy"
        )
    return content
