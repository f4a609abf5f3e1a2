"""The manifest: all or nothing, one writer, and clear words about what is wrong."""

import multiprocessing
import os
import pathlib
import signal
import sqlite3

import pytest

from mlgcn_jax.crawl.records import filters, lock
from mlgcn_jax.crawl.records import manifest as manifests


def test_a_new_manifest_is_empty_and_opens_again(tmp_path):
    with manifests.created(tmp_path) as manifest:
        assert manifest.read_filters() == filters.Filters()
        with manifest.transaction():
            manifest.write_filters(filters.Filters(allow_ai=True))
    with manifests.created(tmp_path) as manifest:
        assert manifest.read_filters().allow_ai
    with manifests.opened(tmp_path) as manifest:
        assert len(manifest.read_vocabulary()) == 0
        mode = manifest.connection.execute("PRAGMA journal_mode").fetchone()
        assert mode == ("wal",)


def test_a_transaction_that_fails_leaves_nothing(tmp_path):
    with manifests.created(tmp_path) as manifest:
        with pytest.raises(KeyboardInterrupt), manifest.transaction():
            manifest.write_setting("a", 1)
            raise KeyboardInterrupt
        assert manifest.read_setting("a") is None
        with manifest.transaction():  # and the next one is possible
            manifest.write_setting("b", 2)
        assert manifest.read_setting("b") == 2


def test_a_reader_sees_one_state_while_another_writes(tmp_path):
    with (
        manifests.created(tmp_path) as writer,
        manifests.opened(tmp_path) as reader,
        reader.snapshot(),
    ):
        assert reader.read_setting("a") is None
        with writer.transaction():
            writer.write_setting("a", 1)
        assert reader.read_setting("a") is None


def test_no_manifest_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="mlgcn crawl list makes one"):
        with manifests.opened(tmp_path):
            pass
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("open_", [manifests.created, manifests.opened])
def test_a_newer_version_is_told(tmp_path, open_):
    with manifests.created(tmp_path) as manifest:
        manifest.connection.execute("PRAGMA user_version = 99")
    with pytest.raises(ValueError, match=r"schema version 99.*knows 1.*newer mlgcn"):
        with open_(tmp_path):
            pass


@pytest.mark.parametrize("open_", [manifests.created, manifests.opened])
def test_a_damaged_file_is_told(tmp_path, open_):
    (tmp_path / manifests.FILE).write_bytes(b"no database at all" * 100)
    with pytest.raises(ValueError, match=r"is damaged .*restore it"):
        with open_(tmp_path):
            pass


def test_damage_that_is_met_later_is_told(tmp_path):
    with manifests.created(tmp_path) as manifest:
        with manifest.transaction() as connection:
            connection.executemany(
                "INSERT INTO work VALUES (?, 1, NULL, ?)",
                ((n, "x" * 500) for n in range(1, 500)),
            )
    path = tmp_path / manifests.FILE
    content = bytearray(path.read_bytes())
    content[100_000:200_000] = bytes(100_000)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged"):
        with manifests.opened(tmp_path) as manifest:
            manifest.connection.execute("SELECT sum(length(json)) FROM work").fetchall()


def test_a_full_disk_is_told_and_nothing_is_lost(tmp_path):
    """SQLite's own limit of pages stands for the disk's end."""
    with manifests.created(tmp_path) as manifest:
        with manifest.transaction():
            manifest.write_setting("kept", "yes")
    with pytest.raises(OSError, match="full"):
        with manifests.created(tmp_path) as manifest:
            manifest.connection.execute("PRAGMA max_page_count = 1")
            with manifest.transaction():
                manifest.write_setting("large", "x" * 1_000_000)
    with manifests.opened(tmp_path) as manifest:
        assert manifest.read_setting("kept") == "yes"
        assert manifest.read_setting("large") is None


def _hold(folder: pathlib.Path, held, end) -> None:
    with lock.hold(folder, "the first"):
        held.set()
        end.wait()


def test_a_second_crawler_is_told_who_has_it_and_a_dead_one_has_it_no_longer(tmp_path):
    context = multiprocessing.get_context("spawn")
    held, end = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(tmp_path, held, end))
    holder.start()
    assert held.wait(60)
    with pytest.raises(OSError, match=f"in use by the first, process {holder.pid} on"):
        with lock.hold(tmp_path, "the second"):
            pass
    holder.kill()
    holder.join()
    with lock.hold(tmp_path, "the third"):
        pass


def _write_and_die(file: pathlib.Path) -> None:
    connection = sqlite3.connect(file, isolation_level=None)
    for number in range(100):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO label VALUES (?, ?, '[]')", (number, number))
        connection.execute("INSERT INTO day VALUES (?, ?)", (number, number))
        if number == 50:
            os.kill(os.getpid(), signal.SIGKILL)
        connection.execute("COMMIT")


def test_what_a_dead_crawler_left_in_the_manifest_is_whole(tmp_path):
    with manifests.created(tmp_path):
        pass
    context = multiprocessing.get_context("spawn")
    writer = context.Process(target=_write_and_die, args=(tmp_path / manifests.FILE,))
    writer.start()
    writer.join()
    assert writer.exitcode == -signal.SIGKILL
    with manifests.opened(tmp_path) as manifest:
        counts = [
            manifest.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("label", "day")
        ]
    assert counts == [50, 50]
