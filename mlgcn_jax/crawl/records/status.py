"""How far a crawl is: what is owed, done, failed and left out, and for how long yet."""

import pathlib
import sqlite3
from typing import Any

from mlgcn_jax.crawl.records import manifest as manifests

_PICTURE_STATES = (
    *("owed", "over_quota", "done", "failed"),
    *("gone", "restricted", "unusable"),
)
_WINDOW_STATES = ("open", "done", "split", "overflow", "failed")
# Owed pictures that the quotas of the last fetch leave out are a state of their own.
_STATE = "CASE WHEN state = 'owed' AND NOT chosen THEN 'over_quota' ELSE state END"
_PAGE_SIZE = 30  # works
_MIN_MEASURED = 100  # pages or pictures; fewer say nothing about the rate


def read(folder: pathlib.Path) -> dict[str, Any]:
    """Returns the state of a crawl, running or not; all keys are always there.

    Seconds are None where nothing can be said.

    Raises:
        FileNotFoundError: There is no crawl in the folder.
        ValueError: Its manifest is damaged or of a newer version.
    """
    with manifests.opened(folder) as manifest, manifest.snapshot() as connection:
        windows = _count(connection, "state", "window")
        pictures = _count(connection, _STATE, "picture")
        return {
            "windows": {state: windows.get(state, 0) for state in _WINDOW_STATES},
            "overflows": _windows(connection, "overflow"),
            "failed_windows": _windows(connection, "failed"),
            "malformed_works": _sum(connection, "malformed", "window"),
            "works": _sum(connection, "1", "work"),
            "excluded": _count(connection, "excluded", "work"),
            "pictures": {state: pictures.get(state, 0) for state in _PICTURE_STATES},
            "failed": _count(connection, "reason", "picture WHERE state = 'failed'"),
            "unusable": _count(
                connection, "reason", "picture WHERE state = 'unusable'"
            ),
            "bytes": _sum(connection, "bytes", "picture WHERE state = 'done'"),
            "labels": _labels(connection),
            "forecast": _forecast(connection, windows, pictures),
            "filters": manifest.read_setting("filters"),
        }


def _count(connection: sqlite3.Connection, what: str, rows: str) -> dict[str, int]:
    """Returns how often each value occurs that is not NULL, the most frequent first."""
    counts = connection.execute(
        f"SELECT {what} AS what, count(*) FROM {rows} GROUP BY 1 ORDER BY 2 DESC, 1"
    )
    return {value: number for value, number in counts if value is not None}


def _sum(connection: sqlite3.Connection, what: str, rows: str) -> int:
    query = f"SELECT coalesce(sum({what}), 0) FROM {rows}"
    return connection.execute(query).fetchone()[0]


def _windows(connection: sqlite3.Connection, state: str) -> list[dict[str, Any]]:
    rows = connection.execute(
        "SELECT word, window.first, window.last, works, reason FROM window "
        "JOIN search ON search.id = search_id WHERE state = ? ORDER BY window.id",
        (state,),
    )
    keys = ("tag", "first", "last", "works", "reason")
    return [dict(zip(keys, row, strict=True)) for row in rows]


def _labels(connection: sqlite3.Connection) -> dict[str, dict[str, int]]:
    """Returns the counts of each label: of works, and of pictures by state."""
    keys: tuple[str, ...] = ("works", "excluded", *_PICTURE_STATES)
    names: dict[int, str] = dict(
        connection.execute("SELECT id, name FROM label ORDER BY id")
    )
    counts: dict[int, dict[str, int]] = {
        label: dict.fromkeys(keys, 0) for label in names
    }
    for label, works, excluded in connection.execute(
        "SELECT label_id, count(*), count(excluded) FROM work_label "
        "JOIN work ON work.id = work_id GROUP BY label_id"
    ):
        counts[label] |= {"works": works, "excluded": excluded}
    for label, state, number in connection.execute(
        f"SELECT label_id, {_STATE}, count(*) FROM work_label "
        "JOIN picture USING (work_id) GROUP BY 1, 2"
    ):
        counts[label][state] = number
    return {names[label]: count for label, count in counts.items()}


def _forecast(
    connection: sqlite3.Connection,
    windows: dict[str, int],
    pictures: dict[str, int],
) -> dict[str, float | None]:
    """Returns the seconds left, from the rate of the last run that says something.

    Before there is one: from the pace that the last run was told to keep.
    """
    pages_s = _seconds_each(connection, "list", "pages", "api_interval_s")
    pictures_s = _seconds_each(connection, "fetch", "pictures", "image_interval_s")
    ended, pages = connection.execute(
        "SELECT count(*), sum((works + malformed) / ? + 1) FROM window "
        "WHERE state IN ('done', 'split', 'overflow')",
        (_PAGE_SIZE,),
    ).fetchone()
    unlisted = windows.get("open", 0) + windows.get("failed", 0)
    pages_left = unlisted * pages / ended if ended else None if unlisted else 0.0
    left = pictures.get("owed", 0) + pictures.get("failed", 0)
    return {
        "seconds_a_page": pages_s,
        "seconds_a_picture": pictures_s,
        "list_s": _product(pages_s, pages_left),
        "fetch_s": _product(pictures_s, float(left)),
    }


def _product(seconds_each: float | None, number: float | None) -> float | None:
    return None if seconds_each is None or number is None else seconds_each * number


def _seconds_each(
    connection: sqlite3.Connection, verb: str, counted: str, interval: str
) -> float | None:
    measured = connection.execute(
        f"SELECT seconds / {counted} FROM run WHERE verb = ? AND {counted} >= ? "
        "ORDER BY id DESC LIMIT 1",
        (verb, _MIN_MEASURED),
    ).fetchone()
    told = connection.execute(
        "SELECT json_extract(settings, ?) FROM run ORDER BY id DESC LIMIT 1",
        (f"$.{interval}",),
    ).fetchone()
    return (measured or told or (None,))[0]
