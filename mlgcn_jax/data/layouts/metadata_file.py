"""The crawl folder: `metadata.jsonl` beside the pictures, one JSON object a picture.

Keys are `id` (of the work), `file`, `tags` and, where known, `page`, `title`, `user`,
`source`, `license`. It describes all of its folder: what it does not name is no part.
"""

import os
from typing import Any

from mlgcn_jax.data import folder_contents
from mlgcn_jax.data.layouts import json_fields, tree

EXPECTED = "metadata.jsonl and the pictures it names"
METADATA = "metadata.jsonl"


def read(files: tree.Tree) -> folder_contents.Contents | None:
    """Returns what each `metadata.jsonl` lists, in its order; None where there is none.

    Raises:
        ValueError: One is empty.
    """
    pictures: list[folder_contents.Picture] = []
    rejects: list[folder_contents.Reject] = []
    for file in files.claim_indexes(lambda file: os.path.basename(file) == METADATA):
        listed, unusable = _read_file(files, file)
        pictures += listed
        rejects += unusable
    return (pictures, rejects) if pictures or rejects else None


def _read_file(files: tree.Tree, metadata: str) -> folder_contents.Contents:
    directory = os.path.dirname(metadata)
    found: dict[tuple[str, int], folder_contents.Picture] = {}
    rejects: list[folder_contents.Reject] = []
    with (files.folder / metadata).open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            entry: dict[str, Any] = {}
            try:
                entry = json_fields.parse_object(line)
                picture = _make_picture(entry, directory, files.checker)
                if (picture.id, picture.page) in found:
                    raise folder_contents.UnusableError(
                        f"page {picture.page} of this id came before"
                    )
                found[picture.id, picture.page] = picture
            except folder_contents.UnusableError as error:
                rejects.append(_make_reject(entry, metadata, f"line {number}: {error}"))
    if not found and not rejects:
        raise ValueError(
            f"{files.folder / metadata} is empty; expected one JSON object for each "
            "picture"
        )
    return list(found.values()), rejects


def _make_picture(
    entry: dict[str, Any], directory: str, checker: folder_contents.FileChecker
) -> folder_contents.Picture:
    missing = [key for key in ("id", "file", "tags") if entry.get(key) in (None, "")]
    if missing:
        raise folder_contents.UnusableError(f"lacks {', '.join(missing)}")
    file = entry["file"]
    if not isinstance(file, str):
        raise folder_contents.UnusableError("file is not text")
    texts = {
        key: json_fields.read_text(entry, key)
        for key in ("id", "title", "user", "source", "license")
    }
    folder_contents.check_encodable(file, *texts.values())
    page = json_fields.read_page({"page": 0, **entry}, "page")
    tags, translations = json_fields.read_tags(entry["tags"])
    return folder_contents.Picture(
        page=page,
        path=checker.check(os.path.join(directory, file)),
        tags=tags,
        translations=translations,
        **texts,
    )


def _make_reject(
    entry: dict[str, Any], metadata: str, reason: str
) -> folder_contents.Reject:
    """Returns a reject with as much of the entry as can be made out."""
    id_, page, file = entry.get("id"), entry.get("page"), entry.get("file")
    directory = os.path.dirname(metadata)
    return folder_contents.make_reject(
        str(id_) if type(id_) in (str, int) else "",
        os.path.join(directory, file) if isinstance(file, str) else metadata,
        reason,
        page=page if type(page) is int else 0,
    )
