"""Says how far a crawl is, running or not: owed, done, failed, left out, time left.

mlgcn crawl status FOLDER [--json=OUT]
"""

import pathlib

from absl import flags

from mlgcn_jax.commands.crawl import folder_argument
from mlgcn_jax.crawl.records import status, status_text
from mlgcn_jax.data import files

_JSON = flags.DEFINE_string("json", None, "JSON file for the same.")


def main(argv: list[str]) -> None:
    """Prints the state of the crawl."""
    state = status.read(folder_argument.parse(argv))
    print(status_text.format_status(state))
    if _JSON.value:
        files.write_json(pathlib.Path(_JSON.value).expanduser(), state)
