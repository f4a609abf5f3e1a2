"""Pictures with a text file of the same name beside each: `cat.png`, `cat.txt`.

The text file holds the tags, separated by commas or newlines; subfolders are searched
too.
"""

import os
import pathlib
import re
from typing import NoReturn

from mlgcn_jax.data import folder_contents, images

EXPECTED = "pictures with .txt tag files beside them"


def read(folder: pathlib.Path) -> folder_contents.Contents | None:
    """Returns pictures and their tags by name; None where no two files belong together.

    The id of a picture is its path in the folder, without the suffix.
    """
    files, rejects = _find_files(folder)
    image_files = [file for file in files if _suffix(file) in images.SUFFIXES]
    tag_files = {_stem(file): file for file in files if _suffix(file) == ".txt"}
    stems = {_stem(file) for file in image_files}
    if not stems & tag_files.keys():
        return None
    checker = folder_contents.FileChecker(folder)
    found: dict[str, folder_contents.Picture] = {}
    for file in image_files:
        id_ = _stem(file)
        try:
            folder_contents.check_encodable(file)
            if id_ not in tag_files:
                raise folder_contents.UnusableError("no .txt tag file beside it")
            if id_ in found:
                raise folder_contents.UnusableError("another picture has the same name")
            tags = _read_tag_file(checker.check(tag_files[id_]))
            found[id_] = folder_contents.Picture(id_, 0, checker.check(file), tags)
        except folder_contents.UnusableError as error:
            rejects.append(folder_contents.make_reject(id_, file, str(error)))
    for id_, file in tag_files.items():
        if id_ not in stems:
            reason = "no picture beside this tag file"
            rejects.append(folder_contents.make_reject(id_, file, reason))
    return list(found.values()), rejects


def _find_files(folder: pathlib.Path) -> tuple[list[str], list[folder_contents.Reject]]:
    """Returns sorted paths, relative to the folder, without hidden files."""

    def fail(error: OSError) -> NoReturn:
        raise error

    files: list[str] = []
    rejects: list[folder_contents.Reject] = []
    for directory, subfolders, names in os.walk(folder, onerror=fail):
        relative = pathlib.PurePath(directory).relative_to(folder)
        subfolders[:] = sorted(name for name in subfolders if name[0] != ".")
        for name in subfolders:
            if os.path.islink(os.path.join(directory, name)):  # not walked into
                file = (relative / name).as_posix()
                reason = "links to folders are not followed"
                rejects.append(folder_contents.make_reject(file, file, reason))
        files += [(relative / name).as_posix() for name in names if name[0] != "."]
    return sorted(files), rejects


def _read_tag_file(path: pathlib.Path) -> tuple[str, ...]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise folder_contents.UnusableError(
            "its .txt tag file is not UTF-8 text"
        ) from error
    tags = (tag.strip() for tag in re.split(r"[,\n]", text))
    return tuple(tag for tag in tags if tag)


def _stem(file: str) -> str:
    return os.path.splitext(file)[0]


def _suffix(file: str) -> str:
    return os.path.splitext(file)[1].lower()
