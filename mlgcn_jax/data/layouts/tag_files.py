"""Pictures with a text file of the same name beside each: `cat.png`, `cat.txt`.

The text file holds the tags, separated by commas or newlines; `cat.png.txt`, as
gallery-dl names it, will do as well. Subfolders are searched too.
"""

import os
import pathlib
import re

from mlgcn_jax.data import folder_contents, images
from mlgcn_jax.data.layouts import file_names, tree

EXPECTED = "pictures with .txt tag files beside them"


def read(files: tree.Tree) -> folder_contents.Contents | None:
    """Returns pictures and their tags by name; None where no two files belong together.

    The id of a picture is its path in the folder without the suffix, or the work that
    its name tells (`file_names`).
    """
    names = files.files
    tag_files = {file for file in names if tree.suffix(file) == ".txt"}
    tag_file_of: dict[str, str] = {}
    for file in names:
        if tree.suffix(file) in images.SUFFIXES:
            for candidate in beside(file):
                if candidate in tag_files:
                    tag_file_of[file] = candidate
    if not tag_file_of:
        return None
    pictures: dict[tuple[str, int], folder_contents.Picture] = {}
    rejects: list[folder_contents.Reject] = []
    for file, tag_file in tag_file_of.items():
        id_, page = _identify(file)
        try:
            folder_contents.check_encodable(file)
            if first := pictures.get((id_, page)):
                if first.path.name == os.path.basename(file):
                    continue  # a second copy, from another search say
                raise folder_contents.UnusableError("another picture has the same name")
            tags = _read_tag_file(files.checker.check(tag_file))
            path = files.checker.check(file)
            pictures[id_, page] = folder_contents.Picture(id_, page, path, tags)
        except folder_contents.UnusableError as error:
            rejects.append(
                folder_contents.make_reject(id_, file, str(error), page=page)
            )
    for file in sorted(tag_files - set(tag_file_of.values())):
        reason = "no picture beside this tag file"
        rejects.append(folder_contents.make_reject(tree.stem(file), file, reason))
    files.claim([*tag_file_of, *tag_files])
    return list(pictures.values()), rejects


def beside(picture: str) -> tuple[str, str]:
    """Returns the names that a picture's tag file may have, the better one last."""
    return f"{picture}.txt", f"{tree.stem(picture)}.txt"


def _identify(file: str) -> tuple[str, int]:
    name = file_names.parse(file)
    if name is None:
        return tree.stem(file), 0
    return file_names.work_id(name.site, name.number), name.page


def _read_tag_file(path: pathlib.Path) -> tuple[str, ...]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise folder_contents.UnusableError(
            "its .txt tag file is not UTF-8 text"
        ) from error
    stripped = (tag.strip() for tag in re.split(r"[,\n]", text))
    tags = tuple(tag for tag in stripped if tag)
    folder_contents.check_tags(tags)
    return tags
