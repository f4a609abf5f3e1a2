"""Pictures of a crawl folder, those that cannot be used, and what tells them apart.

Every layout of crawl folder is read into these; see `folders`.
"""

import dataclasses
import functools
import os
import pathlib
import stat
from collections.abc import Sequence
from typing import TypeAlias

# Pixiv allows 10 tags of 30 characters, and the longest lists of boorus have some
# hundreds; more than this is no list of tags.
MAX_TAGS = 2_000
MAX_TAG_LENGTH = 2_000


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
        translations: (tag, translation) of the tags that the site translates.
    """

    id: str
    page: int
    path: pathlib.Path
    tags: tuple[str, ...]
    title: str = ""
    user: str = ""
    source: str = ""
    license: str = ""
    translations: tuple[tuple[str, str], ...] = ()


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


Contents: TypeAlias = tuple[list[Picture], list[Reject]]


class UnusableError(ValueError):
    """Says why an entry names no usable picture."""


class FileChecker:
    """Checks that files lie in a folder, mostly with one system call for each."""

    def __init__(self, folder: pathlib.Path):
        """Remembers the folder that no file may lie outside of."""
        self._folder = folder
        self._root = folder.resolve()
        self._leads_outside_cached = functools.cache(self._leads_outside)

    def check(self, file: str) -> pathlib.Path:
        """Returns the path of a file, named relative to the folder.

        Raises:
            UnusableError: It is no file in the folder.
        """
        if file.startswith("/") or ".." in file.split("/"):
            raise UnusableError("file lies outside the folder")
        path = os.path.join(self._folder, file)
        try:
            status = os.lstat(path)
            is_link = stat.S_ISLNK(status.st_mode)
            if is_link:
                status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            raise UnusableError("file does not exist") from None
        except OSError as error:
            raise UnusableError(f"file cannot be used: {error.strerror}") from error
        except ValueError as error:  # a null character in the name
            raise UnusableError(f"file cannot be used: {error}") from error
        outside = self._leads_outside_cached(os.path.dirname(path))
        if outside or (is_link and self._leads_outside(path)):
            raise UnusableError("file is a link that leads outside the folder")
        if not stat.S_ISREG(status.st_mode):
            raise UnusableError("file is a folder or a device")
        return pathlib.Path(path)

    def _leads_outside(self, path: str) -> bool:
        return not pathlib.Path(path).resolve().is_relative_to(self._root)


def check_encodable(*texts: str) -> None:
    """Raises UnusableError where a text cannot be written as UTF-8."""
    # JSON and file names may hold halves of characters, which nobody can write down.
    try:
        "".join(texts).encode()
    except UnicodeEncodeError as error:
        raise UnusableError("holds characters that are not Unicode") from error


def check_tags(tags: Sequence[str]) -> None:
    """Raises UnusableError where this cannot be the list of tags of a picture."""
    if len(tags) > MAX_TAGS:
        raise UnusableError(f"has {len(tags)} tags, more than {MAX_TAGS}")
    longest = max(map(len, tags), default=0)
    if longest > MAX_TAG_LENGTH:
        raise UnusableError(
            f"has a tag of {longest} characters, more than {MAX_TAG_LENGTH}"
        )
    check_encodable(*tags)


def make_reject(id_: str, file: str, reason: str, *, page: int = 0) -> Reject:
    """Returns a reject; what cannot be written of id and file is escaped."""
    return Reject(_printable(id_), page, _printable(file), reason)


def _printable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
