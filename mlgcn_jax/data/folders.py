"""Reads crawl folders: which pictures there are, and what is known of each.

Two layouts:
  * `metadata.jsonl` beside the pictures, one JSON object a picture, with `id` (of the
    work), `file`, `tags` and, where known, `page`, `title`, `user`, `source`,
    `license`;
  * pictures with a text file of the same name beside each (`cat.png`, `cat.txt`) that
    holds its tags, separated by commas or newlines; subfolders are searched too.

No picture is opened here. What cannot be used is listed with the reason, never raised:
crawls always hold something broken.
"""

import dataclasses
import functools
import json
import os
import pathlib
import re
import stat
from typing import Any, NoReturn

from mlgcn_jax.data import images

_METADATA = "metadata.jsonl"
_MAX_PAGE = 2**31 - 1  # stored as int32


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture file and what is known of it.

    Attributes:
      id: Of the work; a work may have several pages.
      page: Counts from 0.
      path: An existing file.
      tags: As written.
      title: As written, like the rest; "" where unknown.
      user: Who made it.
      source: Where it comes from.
      license: Under which it may be used.
    """

    id: str
    page: int
    path: pathlib.Path
    tags: tuple[str, ...]
    title: str = ""
    user: str = ""
    source: str = ""
    license: str = ""


@dataclasses.dataclass(frozen=True)
class Reject:
    """Something that names no usable picture.

    Attributes:
      id: Of the work; "" where not even that is known.
      page: 0 where unknown.
      file: Name of the file at fault.
      reason: What is wrong with it.
    """

    id: str
    page: int
    file: str
    reason: str


def read_folder(folder: pathlib.Path) -> tuple[list[Picture], list[Reject]]:
    """Returns the pictures of a crawl folder, and what in it cannot be used.

    The order is that of the metadata lines, or of the file names. Of two entries with
    the same id and page, the first usable one is taken.

    Raises:
      FileNotFoundError: There is no such folder.
      ValueError: It is empty, or of neither layout.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is not a folder; give a crawl folder: {_METADATA} and the "
            "pictures it names, or pictures with .txt tag files beside them"
        )
    if (folder / _METADATA).is_file():
        return _read_metadata(folder)
    return _read_tag_files(folder)


class _UnusableError(ValueError):
    """Says why an entry names no usable picture."""


class _FileChecker:
    """Checks that files lie in a folder, mostly with one system call for each."""

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        self._root = folder.resolve()
        self._leads_outside_cached = functools.cache(self._leads_outside)

    def check(self, file: str) -> pathlib.Path:
        """Returns the path of a file, named relative to the folder.

        Raises:
          _UnusableError: It is no file in the folder.
        """
        if file.startswith("/") or ".." in file.split("/"):
            raise _UnusableError("file lies outside the folder")
        path = os.path.join(self._folder, file)
        try:
            status = os.lstat(path)
            is_link = stat.S_ISLNK(status.st_mode)
            if is_link:
                status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            raise _UnusableError("file does not exist") from None
        except OSError as error:
            raise _UnusableError(f"file cannot be used: {error.strerror}") from error
        except ValueError as error:  # a null character in the name
            raise _UnusableError(f"file cannot be used: {error}") from error
        outside = self._leads_outside_cached(os.path.dirname(path))
        if outside or (is_link and self._leads_outside(path)):
            raise _UnusableError("file is a link that leads outside the folder")
        if not stat.S_ISREG(status.st_mode):
            raise _UnusableError("file is a folder or a device")
        return pathlib.Path(path)

    def _leads_outside(self, path: str) -> bool:
        return not pathlib.Path(path).resolve().is_relative_to(self._root)


# The layout with metadata.jsonl


def _read_metadata(folder: pathlib.Path) -> tuple[list[Picture], list[Reject]]:
    checker = _FileChecker(folder)
    pictures: dict[tuple[str, int], Picture] = {}
    rejects: list[Reject] = []
    with (folder / _METADATA).open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            entry: dict[str, Any] = {}
            try:
                entry = _parse_line(line)
                picture = _make_picture(entry, checker)
                if (picture.id, picture.page) in pictures:
                    raise _UnusableError(f"page {picture.page} of this id came before")
                pictures[picture.id, picture.page] = picture
            except _UnusableError as error:
                rejects.append(_make_reject(entry, f"line {number}: {error}"))
    if not pictures and not rejects:
        raise ValueError(
            f"{folder / _METADATA} is empty; expected one JSON object for each picture"
        )
    return list(pictures.values()), rejects


def _parse_line(line: bytes) -> dict[str, Any]:
    try:
        entry = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _UnusableError("not UTF-8 text") from error
    except (ValueError, RecursionError) as error:
        raise _UnusableError(f"not JSON: {error}") from error
    if not isinstance(entry, dict):
        raise _UnusableError("not a JSON object")
    return entry


def _make_picture(entry: dict[str, Any], checker: _FileChecker) -> Picture:
    missing = [key for key in ("id", "file", "tags") if entry.get(key) in (None, "")]
    if missing:
        raise _UnusableError(f"lacks {', '.join(missing)}")
    page = entry.get("page", 0)
    if type(page) is not int or not 0 <= page <= _MAX_PAGE:
        raise _UnusableError(f"page is not a whole number from 0 to {_MAX_PAGE}")
    file = entry["file"]
    if not isinstance(file, str):
        raise _UnusableError("file is not text")
    texts = {
        key: _read_text(entry, key)
        for key in ("id", "title", "user", "source", "license")
    }
    tags = _read_tags(entry["tags"])
    _check_encodable(file, *texts.values(), *tags)
    return Picture(page=page, path=checker.check(file), tags=tags, **texts)


def _read_text(entry: dict[str, Any], key: str) -> str:
    value = entry.get(key)
    if value is None:
        return ""
    if type(value) not in (str, int):
        raise _UnusableError(f"{key} is neither text nor a whole number")
    return str(value)


def _read_tags(value: Any) -> tuple[str, ...]:
    """Returns the tags of a list of names, or of the {"name": ...} that Pixiv sends."""
    if not isinstance(value, list):
        raise _UnusableError("tags is not a list")
    tags: list[str] = []
    for tag in value:
        name = tag.get("name") if isinstance(tag, dict) else tag
        if not isinstance(name, str):
            raise _UnusableError(
                'tags holds something else than text or {"name": text}'
            )
        tags.append(name)
    return tuple(tags)


def _check_encodable(*texts: str) -> None:
    # JSON and file names may hold halves of characters, which nobody can write down.
    try:
        "".join(texts).encode()
    except UnicodeEncodeError as error:
        raise _UnusableError("holds characters that are not Unicode") from error


def _make_reject(entry: dict[str, Any], reason: str) -> Reject:
    """Returns a reject with as much of the entry as can be made out and written."""
    id_, page, file = entry.get("id"), entry.get("page"), entry.get("file")
    return Reject(
        id=_printable(str(id_)) if type(id_) in (str, int) else "",
        page=page if type(page) is int else 0,
        file=_printable(file) if isinstance(file, str) else _METADATA,
        reason=reason,
    )


def _printable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


# The layout with tag files


def _read_tag_files(folder: pathlib.Path) -> tuple[list[Picture], list[Reject]]:
    files, rejects = _find_files(folder)
    image_files = [file for file in files if _suffix(file) in images.SUFFIXES]
    tag_files = {_stem(file): file for file in files if _suffix(file) == ".txt"}
    stems = {_stem(file) for file in image_files}
    if not stems & tag_files.keys():
        raise ValueError(
            f"{folder} is no crawl folder: found no {_METADATA}, and among "
            f"{len(image_files)} pictures and {len(tag_files)} .txt files none of the "
            f"same name; expected {_METADATA} and the pictures it names, or "
            "pictures with .txt tag files beside them"
        )
    checker = _FileChecker(folder)
    pictures: dict[str, Picture] = {}
    for file in image_files:
        id_ = _stem(file)
        try:
            _check_encodable(file)
            if id_ not in tag_files:
                raise _UnusableError("no .txt tag file beside it")
            if id_ in pictures:
                raise _UnusableError("another picture has the same name")
            tags = _read_tag_file(checker.check(tag_files[id_]))
            pictures[id_] = Picture(id_, 0, checker.check(file), tags)
        except _UnusableError as error:
            rejects.append(_make_reject({"id": id_, "file": file}, str(error)))
    for id_, file in tag_files.items():
        if id_ not in stems:
            entry = {"id": id_, "file": file}
            rejects.append(_make_reject(entry, "no picture beside this tag file"))
    return list(pictures.values()), rejects


def _find_files(folder: pathlib.Path) -> tuple[list[str], list[Reject]]:
    """Returns sorted paths, relative to the folder, without hidden files."""

    def fail(error: OSError) -> NoReturn:
        raise error

    files: list[str] = []
    rejects: list[Reject] = []
    for directory, subfolders, names in os.walk(folder, onerror=fail):
        relative = pathlib.PurePath(directory).relative_to(folder)
        subfolders[:] = sorted(name for name in subfolders if name[0] != ".")
        for name in subfolders:
            if os.path.islink(os.path.join(directory, name)):  # not walked into
                file = (relative / name).as_posix()
                entry = {"id": file, "file": file}
                rejects.append(_make_reject(entry, "links to folders are not followed"))
        files += [(relative / name).as_posix() for name in names if name[0] != "."]
    return sorted(files), rejects


def _read_tag_file(path: pathlib.Path) -> tuple[str, ...]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise _UnusableError("its .txt tag file is not UTF-8 text") from error
    tags = (tag.strip() for tag in re.split(r"[,\n]", text))
    return tuple(tag for tag in tags if tag)


def _stem(file: str) -> str:
    return os.path.splitext(file)[0]


def _suffix(file: str) -> str:
    return os.path.splitext(file)[1].lower()
