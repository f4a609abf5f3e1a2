"""Runs of the crawler against the fake site, in this process and without pauses."""

import contextlib
import datetime
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from mlgcn_jax.crawl import fetching, listing, sessions
from mlgcn_jax.crawl.client import clients, credentials, site
from mlgcn_jax.crawl.records import manifest as manifests
from mlgcn_jax.data import labels
from mlgcn_jax.fake_pixiv import state

FIRST, LAST = datetime.date(2019, 1, 1), datetime.date(2024, 12, 31)
MANNERS = clients.Manners(
    api_interval_s=0.0,
    image_interval_s=0.0,
    connections=4,
    api_attempts=3,
    picture_attempts=3,
    first_wait_s=0.001,
    deadline_s=0.5,
    rate_limit_pause_s=0.05,
)
ENVIRONMENT = {
    "PIXIV_CLIENT_ID": "client",
    "PIXIV_CLIENT_SECRET": "client-secret",
    "PIXIV_HASH_SECRET": "hash-secret",
    "PIXIV_REFRESH_TOKEN": state.REFRESH_TOKEN,
}


@contextlib.contextmanager
def session(
    folder: pathlib.Path,
    url: str,
    verb: str = "fetch",
    *,
    manners: clients.Manners = MANNERS,
    **changed_filters: Any,
) -> Iterator[sessions.Session]:
    folder.mkdir(exist_ok=True)
    with sessions.open_session(
        folder,
        verb,
        where=site.Site(url, url),
        secrets=credentials.read(ENVIRONMENT, folder / "refresh_token"),
        manners=manners,
        changed_filters=changed_filters,
    ) as opened:
        yield opened


def list_works(
    folder: pathlib.Path,
    url: str,
    tags: Sequence[str] = ("猫耳",),
    first: datetime.date = FIRST,
    last: datetime.date = LAST,
    **options: Any,
) -> int:
    """Returns how many windows failed."""
    vocabulary = labels.Vocabulary(tuple(tags), ((),) * len(tags))
    with session(folder, url, "list", **options) as opened:
        listing.add_searches(
            opened.manifest,
            vocabulary,
            first,
            last,
            target=listing.TARGETS[0],
            allow_ai=opened.wanted.allow_ai,
        )
        return listing.list_works(opened)


def fetch(
    folder: pathlib.Path,
    url: str,
    *,
    size: str = "large",
    quota: int | None = None,
    **options: Any,
) -> int:
    """Returns how many pictures failed."""
    with session(folder, url, **options) as opened:
        return fetching.fetch(opened, size=size, per_label=quota)


def rows(folder: pathlib.Path, query: str) -> list[Any]:
    """What the manifest answers to a query."""
    with manifests.opened(folder) as manifest:
        return manifest.connection.execute(query).fetchall()


def states(folder: pathlib.Path) -> dict[str, int]:
    """Pictures by state."""
    return dict(rows(folder, "SELECT state, count(*) FROM picture GROUP BY state"))
