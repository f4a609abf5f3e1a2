"""Pictures with JSON beside them, as gallery-dl leaves them.

The JSON of `cat.png` is `cat.png.json` or `cat.json`; `123.json` is that of all pages
`123_p0.png`, `123_p1.png`, ...; and `data.jsonl` has that of many works, a line each.
`info.json`, which gallery-dl writes for a whole folder, describes no picture.
"""

import os
from typing import Any

from mlgcn_jax.data import folder_contents, images
from mlgcn_jax.data.layouts import (
    file_names,
    json_fields,
    media_files,
    posts,
    tag_files,
    tree,
)

EXPECTED = "pictures with .json or .jsonl metadata beside them (gallery-dl)"
_OF_A_FOLDER = "info.json"


def read(files: tree.Tree) -> folder_contents.Contents | None:
    """Returns the pictures that JSON describes; None where it describes none.

    Of several files that describe a picture the closest is taken: its own, then that of
    its work, then a line of a .jsonl. Where none can be used but there is a tag file,
    the picture is left to that. A work that lies in two folders counts once.
    """
    json_files = [file for file in files.files if tree.suffix(file) == ".json"]
    line_files = [file for file in files.files if tree.suffix(file) == ".jsonl"]
    if not json_files and not line_files:
        return None
    reader = _Reader(files)
    without_own = [file for file in json_files if not reader.read_own(file)]
    for file in filter(_is_of_work, without_own):
        reader.read_work(file)
    for file in line_files:
        reader.read_lines(file)
    if not reader.described and not reader.faults():
        return None
    for file in without_own:
        if not _is_of_work(file) and os.path.basename(file) != _OF_A_FOLDER:
            reader.reject(file, "no picture beside this metadata file")
    names = set(files.files)
    faults = {
        file: reject
        for file, reject in reader.faults().items()
        if tree.suffix(file) not in images.SUFFIXES
        or names.isdisjoint(tag_files.beside(file))
    }
    files.claim([*json_files, *line_files])
    for file in (*reader.described, *faults):
        files.claim([file, *tag_files.beside(file)])  # the same tags again
    return list(reader.pictures.values()), [*faults.values(), *reader.rejects]


def _is_of_work(json_file: str) -> bool:
    number = os.path.basename(tree.stem(json_file))
    return number.isascii() and number.isdecimal()


class _Reader:
    """Reads JSON files one by one, and gathers what they describe.

    Attributes:
        pictures: (id, page) -> picture.
        described: Files of pictures that can be used, second copies among them.
        rejects: What is wrong with JSON that belongs to no file.
    """

    def __init__(self, files: tree.Tree):
        self.pictures: dict[tuple[str, int], folder_contents.Picture] = {}
        self.described: set[str] = set()
        self.rejects: list[folder_contents.Reject] = []
        self._faults: dict[str, folder_contents.Reject] = {}
        self._checker = files.checker
        self._media = media_files.MediaFiles(files.files)

    def faults(self) -> dict[str, folder_contents.Reject]:
        """Returns file -> what is wrong with it or with all JSON that describes it."""
        return {
            file: reject
            for file, reject in self._faults.items()
            if file not in self.described
        }

    def read_own(self, json_file: str) -> bool:
        """Reads the JSON of one file; returns whether there is such a file."""
        file = self._media.of_json(json_file)
        if file is None:
            return False
        name = file_names.parse(file)
        of_name = name.page if name else 0
        try:
            post = posts.read_post(self._read_object(json_file), name)
        except folder_contents.UnusableError as error:
            id_ = file_names.work_id(name.site, name.number) if name else ""
            self._faults[file] = folder_contents.make_reject(
                id_, file, f"its metadata: {error}", page=of_name
            )
        else:
            self._add(post, of_name if post.page is None else post.page, file)
        return True

    def read_work(self, json_file: str) -> None:
        """Reads the JSON of all pages of a work."""
        try:
            post = posts.read_post(self._read_object(json_file))
            self._add_pages(post, json_file)
        except folder_contents.UnusableError as error:
            self.reject(json_file, str(error))

    def read_lines(self, line_file: str) -> None:
        """Reads a file with the JSON of a page, or of a work, in each line."""
        try:
            path = self._checker.check(line_file)
        except folder_contents.UnusableError as error:
            self.reject(line_file, str(error))
            return
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    post = posts.read_post(json_fields.parse_object(line))
                    self._add_pages(post, line_file, page=post.page)
                except folder_contents.UnusableError as error:
                    self.reject(line_file, f"line {number}: {error}")

    def reject(self, json_file: str, reason: str) -> None:
        """Notes what is wrong with a file of JSON."""
        self.rejects.append(folder_contents.make_reject("", json_file, reason))

    def _read_object(self, json_file: str) -> dict[str, Any]:
        return json_fields.parse_object(self._checker.check(json_file).read_bytes())

    def _add_pages(
        self, post: posts.Post, json_file: str, *, page: int | None = None
    ) -> None:
        """Adds one page of a work, or all, that lie beside the JSON or below it."""
        pages = self._media.of_work(os.path.dirname(json_file), post.site, post.number)
        if page is not None:
            pages = [found for found in pages if found[0] == page]
        if not pages:
            which = "" if page is None else f" page {page} of"
            raise folder_contents.UnusableError(
                f"no picture of{which} {post.id} beside this metadata"
            )
        for found_page, file in pages:
            self._add(post, found_page, file)

    def _add(self, post: posts.Post, page: int, file: str) -> None:
        if file in self.described:
            return
        try:
            if tree.suffix(file) not in images.SUFFIXES:
                raise folder_contents.UnusableError(
                    f"a {tree.suffix(file) or 'file without a suffix'} is no picture"
                )
            folder_contents.check_encodable(file)
            path = self._checker.check(file)
        except folder_contents.UnusableError as error:
            self._faults[file] = folder_contents.make_reject(
                post.id, file, str(error), page=page
            )
            return
        self.described.add(file)
        # A second copy, from another search say, adds nothing.
        self.pictures.setdefault((post.id, page), post.picture(page, path))
