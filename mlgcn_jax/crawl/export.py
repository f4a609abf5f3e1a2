"""Makes a crawl folder of a crawl: `metadata.jsonl` for what is there."""

import contextlib
import json
import os
import pathlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

from mlgcn_jax.crawl.records import manifest as manifests
from mlgcn_jax.crawl.records import works
from mlgcn_jax.data import files
from mlgcn_jax.data.layouts import metadata_file

IDS = "ids.jsonl"


def export(folder: pathlib.Path, to: pathlib.Path) -> int:
    """Writes the crawl folder of all pictures that are there; returns how many.

    Args:
        folder: Of the crawl; others may write to it meanwhile.
        to: Where `metadata.jsonl` is written; in another folder than the crawl's the
            pictures become links to the same files, or copies on another disk.

    Raises:
        OSError: Something cannot be read or written.
    """
    number = 0
    with manifests.opened(folder) as manifest, manifest.snapshot() as connection:
        to.mkdir(parents=True, exist_ok=True)
        with _lines_to(to / metadata_file.METADATA) as write:
            for row in _rows(connection, "state = 'done'"):
                if not to.samefile(folder):
                    _link(folder / row["path"], to / row["path"])
                write(_describe(row))
                number += 1
    return number


def export_ids(folder: pathlib.Path, to: pathlib.Path) -> int:
    """Writes ids and tags of all pictures that are there or owed; returns how many.

    Nothing in them is anybody's picture, so they can be shared where pictures cannot.

    Args:
        folder: Of the crawl; others may write to it meanwhile.
        to: Where `ids.jsonl` is written.

    Raises:
        OSError: Something cannot be read or written.
    """
    number = 0
    with manifests.opened(folder) as manifest, manifest.snapshot() as connection:
        to.mkdir(parents=True, exist_ok=True)
        with _lines_to(to / IDS) as write:
            for row in _rows(connection, "state IN ('owed', 'failed', 'done')"):
                line = _describe(row)
                write({key: line[key] for key in ("id", "page", "tags")})
                number += 1
    return number


def _rows(connection: sqlite3.Connection, condition: str) -> Iterator[sqlite3.Row]:
    cursor = connection.cursor()
    cursor.row_factory = sqlite3.Row
    return cursor.execute(
        "SELECT work_id, page, path, width, height, user_id, json "
        "FROM picture JOIN work ON work.id = work_id "
        f"WHERE excluded IS NULL AND {condition} ORDER BY work_id, page"
    )


def _describe(row: sqlite3.Row) -> dict[str, Any]:
    work = works.parse(json.loads(row["json"]))
    return {
        "id": work.id,
        "page": row["page"],
        "file": row["path"],
        "tags": [_tag(name, work.translations.get(name)) for name in work.tags],
        "title": work.title,
        "user": work.user_id,
        "width": row["width"],
        "height": row["height"],
        "source": f"https://www.pixiv.net/artworks/{work.id}",
    }


def _tag(name: str, translation: str | None) -> str | dict[str, str]:
    """Returns a tag as `metadata.jsonl` holds it: a text, or an object of the site."""
    if translation is None:
        return name
    return {"name": name, "translated_name": translation}


@contextlib.contextmanager
def _lines_to(path: pathlib.Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    with files.written_whole(path) as temporary:
        with temporary.open("w", encoding="utf-8") as file:
            yield lambda line: print(json.dumps(line, ensure_ascii=False), file=file)


def _link(source: pathlib.Path, target: pathlib.Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        with files.written_whole(target) as temporary:
            shutil.copyfile(source, temporary)
