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

from mlgcn_jax.crawl import filters
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
    state TEXT NOT NULL,  -- owed, done, failed, gone, restricted
    chosen INTEGER NOT NULL DEFAULT 1,  -- 0 where quotas are full without it
    path TEXT, bytes INTEGER, width INTEGER, height INTEGER, sha256 TEXT,  -- of done
    reason TEXT,  -- of failed
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
        """Takes a connection; see `create_or_open` and `opened`."""
        self.connection = connection
        self.path = path

    def close(self) -> None:
        """Closes the file."""
        self.connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Yields the connection; all that the block writes is written, or nothing.

        Raises:
            OSError: The file cannot be written: the disk is full, say.
        """
        with self._errors_told():
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
        with self._errors_told():
            self.connection.execute("BEGIN")
            try:
                yield self.connection
            finally:
                self.connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def _errors_told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise OSError(f"{self.path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise ValueError(
                f"{self.path} is damaged ({error}); restore it from a copy"
            ) from error

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


def create_or_open(folder: pathlib.Path) -> Manifest:
    """Returns the manifest of a crawl's folder to write to, a new one where none is.

    Raises:
        OSError: The folder cannot be written to.
        ValueError: The manifest is damaged, or of a newer version.
    """
    path = folder / FILE
    manifest = Manifest(_connect(path, f"file:{_quote(path)}?mode=rwc"), path)
    with manifest._errors_told():
        manifest.connection.execute("PRAGMA journal_mode = WAL")
        manifest.connection.execute("PRAGMA synchronous = NORMAL")
        # What is purged is overwritten, not only forgotten.
        manifest.connection.execute("PRAGMA secure_delete = ON")
    if _version(manifest) == 0:
        with manifest.transaction() as connection:
            for statement in _SCHEMA.split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {_VERSION}")
    return manifest


@contextlib.contextmanager
def opened(folder: pathlib.Path) -> Iterator[Manifest]:
    """Yields the manifest of a crawl's folder to read, whoever writes meanwhile.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It is damaged, or of a newer version.
    """
    path = folder / FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} holds no {FILE}; expected the folder of a crawl (mlgcn crawl "
            "list makes one)"
        )
    manifest = Manifest(_connect(path, f"file:{_quote(path)}?mode=rw"), path)
    with contextlib.closing(manifest):
        if _version(manifest) == 0:
            raise ValueError(f"{path} is no manifest of a crawl, or not begun yet")
        yield manifest


def _connect(path: pathlib.Path, uri: str) -> sqlite3.Connection:
    try:
        return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=30)
    except sqlite3.OperationalError as error:
        raise OSError(f"{path}: {error}") from error


def _quote(path: pathlib.Path) -> str:
    return path.absolute().as_uri().removeprefix("file://")


def _version(manifest: Manifest) -> int:
    """Returns the schema's version, 0 of an empty file; refuses newer ones."""
    with manifest._errors_told():
        (version,) = manifest.connection.execute("PRAGMA user_version").fetchone()
    if version > _VERSION:
        manifest.close()
        raise ValueError(
            f"{manifest.path} has schema version {version}, this mlgcn-jax knows "
            f"{_VERSION}; use the newer mlgcn-jax that wrote it"
        )
    return version
