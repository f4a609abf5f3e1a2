"""Works in the manifest: what each one's JSON says of it and of its pictures.

Everything here is called within a transaction.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable
from typing import Any

from mlgcn_jax.crawl.records import filters, works


def store(
    connection: sqlite3.Connection,
    work: works.Work,
    content: dict[str, Any],
    wanted: filters.Filters,
) -> None:
    """Writes a work, new or told anew, and owes the pictures that are wanted of it."""
    connection.execute(
        "INSERT INTO work VALUES (?, ?, NULL, ?) ON CONFLICT (id) DO UPDATE SET "
        "user_id = excluded.user_id, json = excluded.json",
        (work.id, work.user_id, json.dumps(content)),
    )
    judge(connection, work, wanted)


def add_labels(
    connection: sqlite3.Connection, work_id: int, label_indices: Iterable[int]
) -> None:
    """Writes which labels of the crawl's vocabulary a work has, with those it had."""
    connection.executemany(
        "INSERT OR IGNORE INTO work_label VALUES (?, ?)",
        ((work_id, index + 1) for index in label_indices),
    )


def judge(
    connection: sqlite3.Connection, work: works.Work, wanted: filters.Filters
) -> None:
    """Decides by the filters which pictures of a work are owed; done ones stay."""
    reason = wanted.reason_against(work)
    num_pages = 0 if reason else wanted.num_pages(work)
    connection.execute("UPDATE work SET excluded = ? WHERE id = ?", (reason, work.id))
    connection.execute(
        "DELETE FROM picture WHERE work_id = ? AND page >= ? AND state != 'done'",
        (work.id, num_pages),
    )
    connection.executemany(
        "INSERT OR IGNORE INTO picture (work_id, page, rank, state) "
        "VALUES (?, ?, ?, 'owed')",
        ((work.id, page, _rank(work.id)) for page in range(num_pages)),
    )


def judge_all(connection: sqlite3.Connection, wanted: filters.Filters) -> None:
    """Decides anew for every work, after the filters have changed."""
    last_id = 0
    while rows := connection.execute(
        "SELECT id, json FROM work WHERE id > ? ORDER BY id LIMIT 1000", (last_id,)
    ).fetchall():
        for _, content in rows:
            judge(connection, works.parse(json.loads(content)), wanted)
        last_id, _ = rows[-1]


def _rank(work_id: int) -> int:
    """Returns a number that looks random and is always the same for a work.

    What is fetched first, or under a quota at all, is so a fair sample of all years.
    """
    digest = hashlib.blake2b(str(work_id).encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)
