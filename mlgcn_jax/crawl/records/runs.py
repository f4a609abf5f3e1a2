"""What is recorded of each run of a crawl: when, how, how much."""

import datetime
import json
import time
from typing import Any

from mlgcn_jax.crawl.client import pace
from mlgcn_jax.crawl.records import manifest as manifests


class Run:
    """A run that goes on."""

    def __init__(
        self,
        manifest: manifests.Manifest,
        verb: str,
        settings: dict[str, Any],
        daily: pace.DailyCount,
    ):
        """Records its beginning and how it is set."""
        self._connection = manifest.connection
        self._daily = daily
        self._begin = time.monotonic()
        with manifest.transaction() as connection:
            self._id = connection.execute(
                "INSERT INTO run (verb, started, settings) VALUES (?, ?, ?)",
                (verb, _now(), json.dumps(settings)),
            ).lastrowid

    def save(self, *, pages: int = 0, pictures: int = 0) -> None:
        """Adds to what it has done, within a transaction."""
        self._connection.execute(
            "UPDATE run SET pages = pages + ?, pictures = pictures + ?, seconds = ?, "
            "ended = ? WHERE id = ?",
            (pages, pictures, time.monotonic() - self._begin, _now(), self._id),
        )
        self._connection.executemany(
            "INSERT OR REPLACE INTO day VALUES (?, ?)", self._daily.counts().items()
        )


def requests_by_day(manifest: manifests.Manifest) -> dict[str, int]:
    """Returns the requests of the last days, as far as a daily cap asks for them."""
    rows = manifest.connection.execute(
        "SELECT day, requests FROM day ORDER BY day DESC LIMIT 3"
    )
    return dict(rows.fetchall())


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
