"""The manifest: a SQLite file that alone says how far a crawl is.

What belongs together is one transaction, so whenever the crawl is killed, all of it is
there or nothing. One process writes (see `lock`), from one thread; others may read.
"""

import contextlib
import json
import pathlib
import sqlite3
from collections.abc import Iterator
from typing import Any

from mlgcn_jax.crawl.records import filters
from mlgcn_jax.data import labels

FILE = "manifest.sqlite"
_VERSION = 1
_SCHEMA = """
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE label (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
    aliases TEXT NOT NULL  -- JSON list
);
CREATE TABLE search (  -- what was asked to be listed
    id INTEGER PRIMARY KEY, word TEXT NOT NULL, target TEXT NOT NULL,
    ai_type INTEGER NOT NULL,  -- search_ai_type of the API
    first TEXT NOT NULL, last TEXT NOT NULL,  -- days, both included
    UNIQUE (word, target, ai_type, first, last)
);
CREATE TABLE window (
    id INTEGER PRIMARY KEY, search_id INTEGER NOT NULL REFERENCES search,
    first TEXT NOT NULL, last TEXT NOT NULL,
    -- open, done, split (other windows have the rest), overflow, failed
    state TEXT NOT NULL,
    query TEXT,  -- JSON: what asks for the next page; NULL before the first
    oldest TEXT,  -- day of the last work shown
    works INTEGER NOT NULL DEFAULT 0, malformed INTEGER NOT NULL DEFAULT 0,
    reason TEXT  -- of failed
);
CREATE INDEX window_state ON window (state);
CREATE TABLE work (
    id INTEGER PRIMARY KEY, user_id INTEGER,
    excluded TEXT,  -- why it is left out; NULL where it is wanted
    json TEXT NOT NULL  -- as the site told it last
);
CREATE INDEX work_user ON work (user_id);
CREATE TABLE work_label (
    work_id INTEGER NOT NULL, label_id INTEGER NOT NULL,
    PRIMARY KEY (work_id, label_id)
) WITHOUT ROWID;
CREATE INDEX work_label_label ON work_label (label_id, work_id);
CREATE TABLE picture (
    work_id INTEGER NOT NULL, page INTEGER NOT NULL,
    rank INTEGER NOT NULL,  -- order of fetching: random, but always the same
    state TEXT NOT NULL,  -- owed, done, failed, gone, restricted, unusable
    chosen INTEGER NOT NULL DEFAULT 1,  -- 0 where quotas are full without it
    path TEXT, bytes INTEGER, width INTEGER, height INTEGER, sha256 TEXT,  -- of done
    reason TEXT,  -- of failed and unusable
    PRIMARY KEY (work_id, page)
) WITHOUT ROWID;
CREATE INDEX picture_owed ON picture (rank, work_id, page)
    WHERE state = 'owed' AND chosen;
CREATE TABLE run (
    id INTEGER PRIMARY KEY, verb TEXT NOT NULL,
    started TEXT NOT NULL, ended TEXT,  -- UTC
    settings TEXT NOT NULL,  -- JSON
    pages INTEGER NOT NULL DEFAULT 0, pictures INTEGER NOT NULL DEFAULT 0,
    seconds REAL NOT NULL DEFAULT 0
);
CREATE TABLE day (day TEXT PRIMARY KEY, requests INTEGER NOT NULL) WITHOUT ROWID;
"""


class Manifest:
    """A manifest that is open."""

    def __init__(self, connection: sqlite3.Connection, path: pathlib.Path):
        """Takes a connection; see `created` and `opened`."""
        self.connection = connection
        self.path = path

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Yields the connection; all that the block writes is written, or nothing."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield self.connection
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:  # a full disk may have ended it
                self.connection.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Yields the connection; the block sees one state, whoever writes meanwhile."""
        self.connection.execute("BEGIN")
        try:
            yield self.connection
        finally:
            self.connection.execute("ROLLBACK")

    def read_setting(self, name: str) -> Any:
        """Returns a setting; None where it was never set."""
        row = self.connection.execute(
            "SELECT value FROM setting WHERE name = ?", (name,)
        ).fetchone()
        return None if row is None else json.loads(row[0])

    def write_setting(self, name: str, value: Any) -> None:
        """Writes a setting, within a transaction."""
        self.connection.execute(
            "INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, json.dumps(value))
        )

    def read_filters(self) -> filters.Filters:
        """Returns the filters of the crawl."""
        recorded = self.read_setting("filters")
        return filters.from_json(recorded) if recorded else filters.Filters()

    def write_filters(self, wanted: filters.Filters) -> None:
        """Writes the filters of the crawl, within a transaction."""
        self.write_setting("filters", filters.to_json(wanted))

    def read_vocabulary(self) -> labels.Vocabulary:
        """Returns the labels of the crawl; the id of a label is its index plus one."""
        rows = self.connection.execute(
            "SELECT name, aliases FROM label ORDER BY id"
        ).fetchall()
        return labels.Vocabulary(
            tuple(name for name, _ in rows),
            tuple(tuple(json.loads(aliases)) for _, aliases in rows),
        )


@contextlib.contextmanager
def created(folder: pathlib.Path) -> Iterator[Manifest]:
    """Yields the manifest of a crawl's folder, a new one where there is none.

    Raises:
        OSError: It cannot be written: the disk is full, say.
        ValueError: It is damaged, or of a newer version.
    """
    with _connected(folder / FILE, "rwc") as manifest:
        manifest.connection.execute("PRAGMA journal_mode = WAL")
        if _version(manifest) == 0:
            with manifest.transaction() as connection:
                for statement in _SCHEMA.split(";\n"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {_VERSION}")
        yield manifest


@contextlib.contextmanager
def opened(folder: pathlib.Path) -> Iterator[Manifest]:
    """Yields the manifest of a crawl's folder, whoever else reads or writes it.

    Raises:
        FileNotFoundError: There is none.
        OSError: It cannot be read or written.
        ValueError: It is damaged, or of a newer version.
    """
    path = folder / FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} holds no {FILE}; expected the folder of a crawl (mlgcn crawl "
            "list makes one)"
        )
    with _connected(path, "rw") as manifest:
        if _version(manifest) == 0:
            raise ValueError(f"{path} is no manifest of a crawl, or not begun yet")
        yield manifest


@contextlib.contextmanager
def _connected(path: pathlib.Path, mode: str) -> Iterator[Manifest]:
    """Yields the manifest; what SQLite raises in the block is told with its path."""
    try:
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=30)
        with contextlib.closing(connection):
            connection.execute("PRAGMA synchronous = NORMAL")  # enough with WAL
            # What is purged is overwritten, not only forgotten.
            connection.execute("PRAGMA secure_delete = ON")
            yield Manifest(connection, path)
    except sqlite3.OperationalError as error:
        raise OSError(f"{path}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise ValueError(
            f"{path} is damaged ({error}); restore it from a copy"
        ) from error


def _version(manifest: Manifest) -> int:
    """Returns the schema's version, 0 of an empty file; refuses newer ones."""
    (version,) = manifest.connection.execute("PRAGMA user_version").fetchone()
    if version > _VERSION:
        raise ValueError(
            f"{manifest.path} has schema version {version}, this mlgcn-jax knows "
            f"{_VERSION}; use the newer mlgcn-jax that wrote it"
        )
    return version
