"""Reads a folder of tagged pictures, whatever its layout.

No picture is opened here. What cannot be used is listed with the reason, never raised:
crawls always hold something broken.
"""

import os
import pathlib

from mlgcn_jax.data import folder_contents, metadata_file, tag_files

# The crawl folder that comes with mlgcn-jax, as an archive.
SAMPLE = pathlib.Path(__file__).parent / "sample/openclipart_sample.tar"

# Each has `read(folder)`, which returns None for a folder of another layout, and
# `EXPECTED`, which says what it looks for. Add a layout by adding its module.
LAYOUTS = (metadata_file, tag_files)


def read_folder(folder: pathlib.Path) -> folder_contents.Contents:
    """Returns the pictures of a folder, and what in it cannot be used.

    The order is that of the metadata lines, or of the file names. Of two entries with
    the same id and page, the first usable one is taken.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: It is empty, or of no layout that is known.
    """
    expected = ", or ".join(layout.EXPECTED for layout in LAYOUTS)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; give one with {expected}")
    for layout in LAYOUTS:
        contents = layout.read(folder)
        if contents is not None:
            return contents
    names = sorted(os.listdir(folder))
    found = f"holds {', '.join(names[:5])}{', ...' * (len(names) > 5)}"
    raise ValueError(f"{folder} {found if names else 'is empty'}; expected {expected}")
