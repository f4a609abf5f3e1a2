"""Makes a crawl folder of a crawl, for `mlgcn build`; or a list of ids and tags.

    mlgcn crawl export FOLDER [--to=DIR]
    mlgcn crawl export FOLDER --no_images [--to=DIR]

The first writes metadata.jsonl for the pictures that are there, the second ids.jsonl,
which can be shared where other people's pictures cannot.
"""

import pathlib

from absl import flags

from mlgcn_jax.commands.crawl import folder_argument
from mlgcn_jax.crawl import export

_TO = flags.DEFINE_string("to", None, "Where it is written; FOLDER by default.")
_NO_IMAGES = flags.DEFINE_boolean("no_images", False, "Write ids and tags alone.")


def main(argv: list[str]) -> None:
    """Writes, and prints how much.

    Raises:
        ValueError: There is nothing to write.
    """
    folder = folder_argument.parse(argv)
    to = pathlib.Path(_TO.value).expanduser() if _TO.value else folder
    write = export.export_ids if _NO_IMAGES.value else export.export
    number = write(folder, to)
    if not number:
        raise ValueError(f"{folder} has no pictures yet; run mlgcn crawl fetch first")
    print(f"{number} pictures: {to}")
