"""Pictures in the manifest: which are owed, and what became of them."""

import dataclasses
import sqlite3
from collections.abc import Iterator

_AT_ONCE = 200  # rows in memory


@dataclasses.dataclass(frozen=True)
class Owed:
    """A picture to fetch.

    Attributes:
        work_id: Of its work.
        page: Counts from 0.
        work_json: What the site told of the work last.
    """

    work_id: int
    page: int
    work_json: str


@dataclasses.dataclass(frozen=True)
class Stored:
    """A picture whose file is whole under its name.

    Attributes:
        path: Relative to the crawl's folder.
        num_bytes: Of the file.
        width: In pixels.
        height: In pixels.
        sha256: Of the file, in hexadecimal.
    """

    path: str
    num_bytes: int
    width: int
    height: int
    sha256: str


def iterate_owed(connection: sqlite3.Connection) -> Iterator[Owed]:
    """Yields what is owed, in the order of fetching; writing meanwhile is allowed."""
    last = (-(2**63), 0, -1)
    while rows := connection.execute(
        "SELECT rank, work_id, page, json FROM picture JOIN work ON work.id = work_id "
        "WHERE state = 'owed' AND chosen AND (rank, work_id, page) > (?, ?, ?) "
        "ORDER BY rank, work_id, page LIMIT ?",
        (*last, _AT_ONCE),
    ).fetchall():
        for *last, content in rows:
            yield Owed(last[1], last[2], content)


def count_owed(connection: sqlite3.Connection) -> int:
    """Returns how many pictures are to be fetched."""
    return connection.execute(
        "SELECT count(*) FROM picture WHERE state = 'owed' AND chosen"
    ).fetchone()[0]


def owe_failed(connection: sqlite3.Connection) -> None:
    """Lets what failed in earlier runs be tried again, within a transaction."""
    connection.execute(
        "UPDATE picture SET state = 'owed', reason = NULL WHERE state = 'failed'"
    )


def set_done(connection: sqlite3.Connection, owed: Owed, stored: Stored) -> None:
    """Writes that a picture is there, within a transaction."""
    connection.execute(
        "UPDATE picture SET state = 'done', path = ?, bytes = ?, width = ?, "
        "height = ?, sha256 = ?, reason = NULL WHERE work_id = ? AND page = ?",
        (
            *(stored.path, stored.num_bytes, stored.width, stored.height),
            *(stored.sha256, owed.work_id, owed.page),
        ),
    )


def set_state(
    connection: sqlite3.Connection, owed: Owed, state: str, reason: str | None
) -> None:
    """Writes that a picture is not to be had, and why, within a transaction."""
    connection.execute(
        "UPDATE picture SET state = ?, reason = ? WHERE work_id = ? AND page = ?",
        (state, reason, owed.work_id, owed.page),
    )
