"""A run that asks the site: lock, manifest, filters, record and connections, opened."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

from absl import logging

from mlgcn_jax.crawl.client import clients, credentials, pace, site, stopping
from mlgcn_jax.crawl.records import filters, lock, runs, work_records
from mlgcn_jax.crawl.records import manifest as manifests


@dataclasses.dataclass(frozen=True)
class Session:
    """What a run works with.

    Attributes:
        folder: Of the crawl.
        manifest: Open for writing.
        wanted: The filters.
        run: Its record.
        client: Its connections.
        manners: How it behaves.
        stop: Ends its threads.
    """

    folder: pathlib.Path
    manifest: manifests.Manifest
    wanted: filters.Filters
    run: runs.Run
    client: clients.Client
    manners: clients.Manners
    stop: stopping.Stop


@contextlib.contextmanager
def open_session(
    folder: pathlib.Path,
    verb: str,
    *,
    where: site.Site,
    secrets: credentials.Credentials,
    manners: clients.Manners,
    changed_filters: dict[str, Any],
) -> Iterator[Session]:
    """Yields the session of one run on a crawl's folder.

    Args:
        folder: Exists.
        verb: "list" or "fetch".
        where: The site.
        secrets: For its token server.
        manners: Recorded with the run.
        changed_filters: Fields of `Filters` that shall be others from now on. Every
            work is judged anew then.

    Raises:
        OSError: Another crawler is at work, or the folder cannot be written to.
        ValueError: The manifest is damaged or of a newer version.
    """
    with (
        lock.hold(folder, f"mlgcn crawl {verb}"),
        manifests.created(folder) as manifest,
    ):
        wanted = _update_filters(manifest, changed_filters)
        daily = pace.DailyCount(manners.daily_cap, runs.requests_by_day(manifest))
        settings = {**dataclasses.asdict(manners), "api_url": where.api_url}
        run = runs.Run(manifest, verb, settings, daily)
        stop = stopping.Stop()
        with clients.connect(where, secrets, manners, daily, stop) as connected:
            try:
                yield Session(folder, manifest, wanted, run, connected, manners, stop)
            finally:
                stop.set()


def _update_filters(
    manifest: manifests.Manifest, changed: dict[str, Any]
) -> filters.Filters:
    recorded = manifest.read_filters()
    wanted = dataclasses.replace(recorded, **changed)
    with manifest.transaction() as connection:
        manifest.write_filters(wanted)
        if wanted != recorded:
            logging.info("the filters are others now: judging all works anew")
            work_records.judge_all(connection, wanted)
    return wanted
