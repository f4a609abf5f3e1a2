"""DeepDanbooru's datasets: SQLite beside folders of pictures named by their MD5.

The table `posts` has md5, file_ext, tag_string and mostly id; a picture lies in
`images/ab/ab...12.jpg`. It describes all of its folder: what it does not name is no
part.
"""

import contextlib
import os
import pathlib
import re
import sqlite3
from collections.abc import Iterator
from typing import Any

from mlgcn_jax.data import folder_contents, images
from mlgcn_jax.data.layouts import posts, tree

EXPECTED = "an SQLite table posts(md5, file_ext, tag_string) beside images/ab/MD5.jpg"
_MAGIC = b"SQLite format 3\0"
_SUFFIXES = (".sqlite", ".sqlite3", ".db")
_NEEDED = ("md5", "file_ext", "tag_string")
_OPTIONAL = ("id", "tag_string_meta", "source")
_MD5 = re.compile(r"[0-9a-f]{32}", re.ASCII)
_EXTENSION = re.compile(r"[0-9a-zA-Z]{1,5}", re.ASCII)


def read(files: tree.Tree) -> folder_contents.Contents | None:
    """Returns what each database lists; None where there is no such database.

    Raises:
        ValueError: One is damaged, or lists nothing.
    """

    def has_posts(file: str) -> bool:
        return tree.suffix(file) in _SUFFIXES and bool(_columns(files, file))

    pictures: list[folder_contents.Picture] = []
    rejects: list[folder_contents.Reject] = []
    for file in files.claim_indexes(has_posts):
        listed, unusable = _read_database(files, file)
        pictures += listed
        rejects += unusable
    return (pictures, rejects) if pictures or rejects else None


def _columns(files: tree.Tree, file: str) -> list[str]:
    """Returns the columns to read; [] where the file is no such database."""
    try:
        path = files.checker.check(file)
    except folder_contents.UnusableError:
        return []
    with path.open("rb") as content:
        if content.read(len(_MAGIC)) != _MAGIC:
            return []
    with _opened(path) as database:
        # No view, which may compute for ever.
        found = database.execute(
            "SELECT c.name FROM sqlite_schema AS s JOIN pragma_table_info(s.name) AS c "
            "WHERE s.type = 'table' AND s.name = 'posts'"
        )
        names = {name.decode(errors="replace") for (name,) in found}
    columns = [name for name in (*_NEEDED, *_OPTIONAL) if name in names]
    return columns if names.issuperset(_NEEDED) else []


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[sqlite3.Connection]:
    """Yields a database of which nothing is believed, and nothing changed.

    Raises:
        ValueError: It is damaged.
    """
    uri = f"{path.resolve().as_uri()}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
            database.execute("PRAGMA trusted_schema = OFF")
            database.text_factory = bytes  # text need not be Unicode
            yield database
    except sqlite3.DatabaseError as error:
        raise ValueError(
            f"{path} cannot be read ({error}); restore it from a copy"
        ) from error


def _read_database(files: tree.Tree, file: str) -> folder_contents.Contents:
    path = files.folder / file
    columns = _columns(files, file)
    order = "id" if "id" in columns else "md5"
    found: dict[str, folder_contents.Picture] = {}
    rejects: list[folder_contents.Reject] = []
    with _opened(path) as database:
        query = f"SELECT {', '.join(columns)} FROM posts ORDER BY {order}"
        for values in database.execute(query):
            row = dict(zip(columns, values, strict=True))
            try:
                picture = _make_picture(row, os.path.dirname(file), files.checker)
                if picture.id in found:
                    raise folder_contents.UnusableError("this id came before")
                found[picture.id] = picture
            except folder_contents.UnusableError as error:
                rejects.append(_make_reject(row, file, str(error)))
    if not found and not rejects:
        raise ValueError(f"the table posts of {path} is empty; expected rows")
    return list(found.values()), rejects


def _make_picture(
    row: dict[str, Any], folder: str, checker: folder_contents.FileChecker
) -> folder_contents.Picture:
    entry = {key: _decode(key, value) for key, value in row.items()}
    md5, extension = entry["md5"], entry["file_ext"]
    if not (isinstance(md5, str) and _MD5.fullmatch(md5)):
        raise folder_contents.UnusableError("md5 is not 32 hexadecimal digits")
    if not (isinstance(extension, str) and _EXTENSION.fullmatch(extension)):
        raise folder_contents.UnusableError("file_ext is no suffix of a file")
    if f".{extension.lower()}" not in images.SUFFIXES:
        raise folder_contents.UnusableError(f"a .{extension} is no picture")
    if not isinstance(entry["tag_string"], str):
        raise folder_contents.UnusableError("tag_string is not text")
    post = posts.read_post({"id": md5, **entry})
    file = os.path.join(folder, "images", md5[:2], f"{md5}.{extension}")
    return post.picture(0, checker.check(file))


def _decode(key: str, value: Any) -> Any:
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError as error:
        raise folder_contents.UnusableError(f"{key} is not UTF-8 text") from error


def _make_reject(row: dict[str, Any], file: str, reason: str) -> folder_contents.Reject:
    """Returns a reject that names the row by its id, or else by its MD5."""
    name = row.get("id") or row["md5"]
    if isinstance(name, bytes):
        name = name.decode(errors="backslashreplace")
    return folder_contents.make_reject(str(name), file, reason)
