"""Reads a folder of tagged pictures, whatever its layout.

No picture is opened here. What cannot be used is listed with the reason, never raised:
crawls always hold something broken.
"""

import os
import pathlib

from mlgcn_jax.data import folder_contents, images
from mlgcn_jax.data.layouts import (
    deepdanbooru,
    metadata_file,
    sidecars,
    tag_files,
    tree,
)

# The crawl folder that comes with mlgcn-jax, as an archive.
SAMPLE = pathlib.Path(__file__).parent / "sample/openclipart_sample.tar"

# Each has `read(files)`, which claims the files that it reads and returns None where
# there are none, and `EXPECTED`, which says what it looks for. An earlier one has the
# first choice. Add a layout by adding its module.
LAYOUTS = (metadata_file, deepdanbooru, sidecars, tag_files)


def read_folder(folder: pathlib.Path) -> folder_contents.Contents:
    """Returns the pictures of a folder, and what in it cannot be used.

    The folder may hold several layouts, each in subfolders of its own or all together:
    a picture is described by the first layout that knows it. Pictures that none knows
    are rejects. The order is that of the metadata lines, or of the file names. Of two
    entries with the same id and page, the first usable one is taken.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: It is empty, or of no layout that is known.
    """
    expected = ", or ".join(layout.EXPECTED for layout in LAYOUTS)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; give one with {expected}")
    files = tree.Tree(folder)
    read = [contents for layout in LAYOUTS if (contents := layout.read(files))]
    if not read:
        names = sorted(os.listdir(folder))
        found = f"holds {', '.join(names[:5])}{', ...' * (len(names) > 5)}"
        found = found if names else "is empty"
        raise ValueError(f"{folder} {found}; expected {expected}")
    pictures: dict[tuple[str, int], folder_contents.Picture] = {}
    rejects: list[folder_contents.Reject] = []
    for read_pictures, read_rejects in read:
        for picture in read_pictures:
            first = pictures.setdefault((picture.id, picture.page), picture)
            if first is not picture:
                rejects.append(_reject_second(picture, first, folder))
        rejects += read_rejects
    return list(pictures.values()), rejects + _reject_unclaimed(files)


def _reject_second(
    picture: folder_contents.Picture,
    first: folder_contents.Picture,
    folder: pathlib.Path,
) -> folder_contents.Reject:
    """Returns the reject of a picture that another layout has as well."""
    return folder_contents.make_reject(
        picture.id,
        os.path.relpath(picture.path, folder),
        f"{os.path.relpath(first.path, folder)} is this page of this work too",
        page=picture.page,
    )


def _reject_unclaimed(files: tree.Tree) -> list[folder_contents.Reject]:
    """Returns the rejects of all that looks like a picture and that no layout knows."""
    rejects = [
        folder_contents.make_reject(link, link, "links to folders are not followed")
        for link in files.links
    ]
    for file in files.files:
        reason = None
        if tree.suffix(file) in images.SUFFIXES:
            reason = "nothing says its tags: no metadata, no .txt beside it"
        elif tree.suffix(file) == ".part":
            reason = "a download that was not finished"
        if reason:
            rejects.append(folder_contents.make_reject(tree.stem(file), file, reason))
    return rejects
