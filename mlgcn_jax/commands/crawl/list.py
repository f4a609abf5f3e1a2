"""Lists the works with some tags of some days, without fetching their pictures.

    mlgcn crawl list FOLDER --tags=猫耳,メイド --start=2019-01-01 --end=2024-12-31
    mlgcn crawl list FOLDER --labels=pixiv40 --start=2019-01-01 --end=2024-12-31
    mlgcn crawl list FOLDER

The third goes on with what was begun, and tries again what failed; so does repeating
the first. Other tags or days are added to the crawl.
"""

import datetime

from absl import app, flags, logging

from mlgcn_jax.commands import exit_status
from mlgcn_jax.commands.crawl import folder_argument, site_flags
from mlgcn_jax.crawl import listing
from mlgcn_jax.crawl.client import pace
from mlgcn_jax.crawl.records import status, status_text
from mlgcn_jax.data import labels

flags.adopt_module_key_flags(site_flags)

_TAGS = flags.DEFINE_list("tags", None, "Tags to search for; each counts as a label.")
_LABELS = flags.DEFINE_string(
    "labels",
    None,
    "Instead: a vocabulary (file with the columns label,aliases, or openclipart40, "
    "pixiv40). All names and aliases are searched for, works are counted by label.",
)
_START = flags.DEFINE_string("start", None, "The earliest day, YYYY-MM-DD.")
_END = flags.DEFINE_string("end", None, "The latest day, YYYY-MM-DD.")
_SEARCH_TARGET = flags.DEFINE_enum(
    "search_target",
    listing.TARGETS[0],
    listing.TARGETS,
    "Whether a tag of a work must be the tag, or may contain it.",
)


def main(argv: list[str]) -> int:
    """Lists all that is owed; returns 1 where some of it failed."""
    folder = folder_argument.parse(argv)
    vocabulary = _read_vocabulary()
    days = None if vocabulary is None else _parse_days()
    with site_flags.open_session(folder, "list") as session:
        if vocabulary is not None and days is not None:
            listing.add_searches(
                session.manifest,
                vocabulary,
                *days,
                target=_SEARCH_TARGET.value,
                allow_ai=session.wanted.allow_ai,
            )
        try:
            failed = listing.list_works(session)
        except pace.DailyCapError as error:
            logging.warning("%s", error)
            return exit_status.PREEMPTED
    found = status.read(folder)
    print(status_text.format_status(found))
    unknown = [name for name, n in found["labels"].items() if not n["works"]]
    if unknown:
        logging.warning("no work at all has these tags: %s", ", ".join(unknown))
    return exit_status.FAILURE if failed else 0


def _read_vocabulary() -> labels.Vocabulary | None:
    if _TAGS.value and _LABELS.value:
        raise app.UsageError("give one of --tags and --labels")
    if _TAGS.value:
        tags = tuple(_TAGS.value)
        return labels.Vocabulary(tags, ((),) * len(tags))
    return labels.named_vocabulary(_LABELS.value) if _LABELS.value else None


def _parse_days() -> tuple[datetime.date, datetime.date]:
    days = []
    for name, text in (("start", _START.value), ("end", _END.value)):
        try:
            days.append(datetime.date.fromisoformat(text or ""))
        except ValueError:
            raise app.UsageError(
                f"--{name}={text or ''} is no day; give one as in --{name}=2024-12-31"
            ) from None
    first, last = days
    if last < first:
        raise app.UsageError(f"--end={last} is before --start={first}")
    return first, last
