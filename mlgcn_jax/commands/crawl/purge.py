"""Deletes an author or a work from a crawl, for good: files, records, exported lines.

mlgcn crawl purge FOLDER --user=ID|--work=ID

It is kept out of the crawl from then on. Datasets that were built, and folders that
were exported to with --to, have to be made anew.
"""

from absl import app, flags

from mlgcn_jax.commands.crawl import folder_argument
from mlgcn_jax.crawl import purge

_USER = flags.DEFINE_integer("user", None, "Id of an author.", lower_bound=1)
_WORK = flags.DEFINE_integer("work", None, "Id of a work.", lower_bound=1)


def main(argv: list[str]) -> None:
    """Deletes, and prints how much."""
    folder = folder_argument.parse(argv)
    if (_USER.value is None) == (_WORK.value is None):
        raise app.UsageError("give one of --user and --work")
    number = purge.purge(folder, user=_USER.value, work=_WORK.value)
    print(f"{number} works purged; they will not be listed again")
