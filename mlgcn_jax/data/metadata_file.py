"""The crawl folder: `metadata.jsonl` beside the pictures, one JSON object a picture.

Keys are `id` (of the work), `file`, `tags` and, where known, `page`, `title`, `user`,
`source`, `license`.
"""

import json
import pathlib
from typing import Any

from mlgcn_jax.data import folder_contents

EXPECTED = "metadata.jsonl and the pictures it names"
METADATA = "metadata.jsonl"
_MAX_PAGE = 2**31 - 1  # stored as int32


def read(folder: pathlib.Path) -> folder_contents.Contents | None:
    """Returns what `metadata.jsonl` lists, in its order; None where there is no such.

    Raises:
        ValueError: It is empty.
    """
    if not (folder / METADATA).is_file():
        return None
    checker = folder_contents.FileChecker(folder)
    found: dict[tuple[str, int], folder_contents.Picture] = {}
    rejects: list[folder_contents.Reject] = []
    with (folder / METADATA).open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            entry: dict[str, Any] = {}
            try:
                entry = _parse_line(line)
                picture = _make_picture(entry, checker)
                if (picture.id, picture.page) in found:
                    raise folder_contents.UnusableError(
                        f"page {picture.page} of this id came before"
                    )
                found[picture.id, picture.page] = picture
            except folder_contents.UnusableError as error:
                rejects.append(_make_reject(entry, f"line {number}: {error}"))
    if not found and not rejects:
        raise ValueError(
            f"{folder / METADATA} is empty; expected one JSON object for each picture"
        )
    return list(found.values()), rejects


def _parse_line(line: bytes) -> dict[str, Any]:
    try:
        entry = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise folder_contents.UnusableError("not UTF-8 text") from error
    except (ValueError, RecursionError) as error:
        raise folder_contents.UnusableError(f"not JSON: {error}") from error
    if not isinstance(entry, dict):
        raise folder_contents.UnusableError("not a JSON object")
    return entry


def _make_picture(
    entry: dict[str, Any], checker: folder_contents.FileChecker
) -> folder_contents.Picture:
    missing = [key for key in ("id", "file", "tags") if entry.get(key) in (None, "")]
    if missing:
        raise folder_contents.UnusableError(f"lacks {', '.join(missing)}")
    page = entry.get("page", 0)
    if type(page) is not int or not 0 <= page <= _MAX_PAGE:
        raise folder_contents.UnusableError(
            f"page is not a whole number from 0 to {_MAX_PAGE}"
        )
    file = entry["file"]
    if not isinstance(file, str):
        raise folder_contents.UnusableError("file is not text")
    texts = {
        key: _read_text(entry, key)
        for key in ("id", "title", "user", "source", "license")
    }
    tags = _read_tags(entry["tags"])
    folder_contents.check_encodable(file, *texts.values(), *tags)
    return folder_contents.Picture(
        page=page, path=checker.check(file), tags=tags, **texts
    )


def _read_text(entry: dict[str, Any], key: str) -> str:
    value = entry.get(key)
    if value is None:
        return ""
    if type(value) not in (str, int):
        raise folder_contents.UnusableError(f"{key} is neither text nor a whole number")
    return str(value)


def _read_tags(value: Any) -> tuple[str, ...]:
    """Returns the tags of a list of names, or of the {"name": ...} that Pixiv sends."""
    if not isinstance(value, list):
        raise folder_contents.UnusableError("tags is not a list")
    tags: list[str] = []
    for tag in value:
        name = tag.get("name") if isinstance(tag, dict) else tag
        if not isinstance(name, str):
            raise folder_contents.UnusableError(
                'tags holds something else than text or {"name": text}'
            )
        tags.append(name)
    return tuple(tags)


def _make_reject(entry: dict[str, Any], reason: str) -> folder_contents.Reject:
    """Returns a reject with as much of the entry as can be made out."""
    id_, page, file = entry.get("id"), entry.get("page"), entry.get("file")
    return folder_contents.make_reject(
        str(id_) if type(id_) in (str, int) else "",
        file if isinstance(file, str) else METADATA,
        reason,
        page=page if type(page) is int else 0,
    )
