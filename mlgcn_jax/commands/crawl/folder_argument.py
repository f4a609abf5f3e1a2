"""The one argument of every verb: the folder of a crawl."""

import pathlib

from absl import app


def parse(argv: list[str]) -> pathlib.Path:
    """Returns the folder; raises UsageError where not exactly one is given."""
    if len(argv) != 2:
        raise app.UsageError(f"expected the folder of a crawl, found {argv[1:]}")
    return pathlib.Path(argv[1]).expanduser()
