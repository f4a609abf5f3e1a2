"""Lists works: words x windows -> pages of search results -> the manifest.

A page's works and the window's new position are one transaction, so a killed run goes
on with the very next page.
"""

import datetime
import json
import sqlite3
from collections.abc import Iterable
from typing import Any

from absl import logging

from mlgcn_jax.crawl import progress, sessions, windows
from mlgcn_jax.crawl.client import api, retries
from mlgcn_jax.crawl.records import manifest as manifests
from mlgcn_jax.crawl.records import work_records, works
from mlgcn_jax.data import labels

TARGETS = ("exact_match_for_tags", "partial_match_for_tags")
_MAX_FAILURES_IN_A_ROW = 5  # windows; then it is the site, or the way there


def add_searches(
    manifest: manifests.Manifest,
    vocabulary: labels.Vocabulary,
    first: datetime.date,
    last: datetime.date,
    *,
    target: str,
    allow_ai: bool,
) -> None:
    """Writes what is to be listed; what was asked for before stays as far as it is.

    Args:
        manifest: Of the crawl.
        vocabulary: All names and aliases are searched for.
        first: The earliest day.
        last: The latest day, not before the first.
        target: One of TARGETS: a tag must match as a whole, or in part.
        allow_ai: Ask for works made by generators too.

    Raises:
        ValueError: A label is the same as an earlier one that is written otherwise.
    """
    words = dict.fromkeys(
        word
        for name, aliases in zip(vocabulary.labels, vocabulary.aliases, strict=True)
        for word in (name, *aliases)
    )
    with manifest.transaction() as connection:
        connection.executemany(
            "INSERT INTO label (name, aliases) VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET aliases = excluded.aliases",
            zip(vocabulary.labels, map(json.dumps, vocabulary.aliases), strict=True),
        )
        manifest.read_vocabulary()  # raises where two labels are one
        for word in words:
            search = connection.execute(
                "INSERT OR IGNORE INTO search (word, target, ai_type, first, last) "
                "VALUES (?, ?, ?, ?, ?) RETURNING id",
                (word, target, int(allow_ai), first.isoformat(), last.isoformat()),
            ).fetchone()
            if search is not None:
                _add_windows(connection, search[0], windows.plan(first, last))


def list_works(session: sessions.Session) -> int:
    """Asks for every page that is still owed; returns how many windows failed.

    Raises:
        OSError: One window after the other failed, or the disk is full.
        RefusedError: The site takes the account's token no longer.
        DailyCapError: No more today.
    """
    manifest = session.manifest
    with manifest.transaction() as connection:
        connection.execute("UPDATE window SET state = 'open' WHERE state = 'failed'")
    vocabulary = manifest.read_vocabulary()
    shown = progress.Progress("pages")
    failed = in_a_row = 0
    while (window := _next_window(manifest)) is not None:
        try:
            _list_page(session, window, vocabulary)
            in_a_row = 0
        except retries.GaveUpError as error:
            logging.warning("%s %s: %s", window["word"], window["last"], error)
            with manifest.transaction() as connection:
                _close(connection, window["id"], "failed", str(error))
                session.run.save()
            failed, in_a_row = failed + 1, in_a_row + 1
            if in_a_row == _MAX_FAILURES_IN_A_ROW:
                raise OSError(
                    f"{in_a_row} searches in a row failed, the last: {error}; start "
                    "the same command again later"
                ) from error
        shown.add(1, f"at {window['word']}, {window['first']} to {window['last']}")
    return failed


def _next_window(manifest: manifests.Manifest) -> sqlite3.Row | None:
    cursor = manifest.connection.cursor()
    cursor.row_factory = sqlite3.Row
    return cursor.execute(
        "SELECT window.id, search_id, word, target, ai_type, window.first, "
        "window.last, query, oldest "
        "FROM window JOIN search ON search.id = search_id "
        "WHERE state = 'open' ORDER BY window.id LIMIT 1"
    ).fetchone()


def _list_page(
    session: sessions.Session, window: sqlite3.Row, vocabulary: labels.Vocabulary
) -> None:
    """Asks for the next page of a window, and writes what it shows."""
    query = json.loads(window["query"]) if window["query"] else _first_query(window)
    try:
        page = session.client.api.search(query)
    except api.OffsetCapError:
        with session.manifest.transaction() as connection:
            _split(connection, window, window["oldest"])
            session.run.save(pages=1)
        return
    days = [day for work in page.works if (day := works.creation_day(work))]
    oldest = days[-1] if days else window["oldest"]
    with session.manifest.transaction() as connection:
        found = [
            _store(session, work, window["word"], vocabulary) for work in page.works
        ]
        connection.execute(
            "UPDATE window SET query = ?, oldest = ?, works = works + ?, "
            "malformed = malformed + ? WHERE id = ?",
            (
                json.dumps(page.next_query),
                oldest,
                found.count(True),
                found.count(False),
                window["id"],
            ),
        )
        if page.next_query is None or _offset(page.next_query) <= _offset(query):
            _close(connection, window["id"], "done")
        elif _offset(page.next_query) > windows.MAX_OFFSET:
            _split(connection, window, oldest)
        session.run.save(pages=1)


def _store(
    session: sessions.Session, content: Any, word: str, vocabulary: labels.Vocabulary
) -> bool:
    """Writes a work that a search for a word shows; returns False if it is none."""
    try:
        work = works.parse(content)
    except works.MalformedError as error:
        logging.warning("a work of %s is skipped: %s", word, error)
        return False
    # What was purged does not come back, not even as a record.
    if not session.wanted.is_on_opt_out_list(work):
        connection = session.manifest.connection
        work_records.store(connection, work, content, session.wanted)
        indices = vocabulary.label_indices((*work.tags, word))
        work_records.add_labels(connection, work.id, indices)
    return True


def _first_query(window: sqlite3.Row) -> dict[str, str]:
    return {
        "word": window["word"],
        "search_target": window["target"],
        "sort": "date_desc",
        "start_date": window["first"],
        "end_date": window["last"],
        "search_ai_type": str(window["ai_type"]),
        "filter": "for_ios",
    }


def _offset(query: dict[str, str]) -> int:
    """Returns where a page begins; 0 where the query does not say, as in the first."""
    text = query.get("offset", "")
    return int(text) if text.isascii() and text.isdigit() else 0


def _add_windows(
    connection: sqlite3.Connection, search_id: int, spans: Iterable[windows.Window]
) -> None:
    connection.executemany(
        "INSERT INTO window (search_id, first, last, state) VALUES (?, ?, ?, 'open')",
        ((search_id, span.first.isoformat(), span.last.isoformat()) for span in spans),
    )


def _close(
    connection: sqlite3.Connection, window_id: int, state: str, reason: str = ""
) -> None:
    connection.execute(
        "UPDATE window SET state = ?, reason = ? WHERE id = ?",
        (state, reason or None, window_id),
    )


def _split(
    connection: sqlite3.Connection, window: sqlite3.Row, oldest: str | None
) -> None:
    """Gives what a window does not show to others, or records that it stays unseen."""
    span = windows.Window(
        datetime.date.fromisoformat(window["first"]),
        datetime.date.fromisoformat(window["last"]),
    )
    spans = windows.rest(span, datetime.date.fromisoformat(oldest) if oldest else None)
    if not spans:
        logging.warning(
            "%s: %s alone has more works than the site shows (%d); the older ones of "
            "that day stay unseen",
            window["word"],
            window["last"],
            windows.MAX_OFFSET,
        )
    _add_windows(connection, window["search_id"], spans)
    _close(connection, window["id"], "split" if spans else "overflow")
