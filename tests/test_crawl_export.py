"""What a crawl becomes: a crawl folder to build of, ids to share, or less."""

import json
import os
import pathlib

import crawl_runs
import pytest

from mlgcn_jax.crawl import export, purge
from mlgcn_jax.crawl.records import status, status_text
from mlgcn_jax.data import files as files_lib
from mlgcn_jax.data import folders
from mlgcn_jax.fake_pixiv import server, world


@pytest.fixture
def crawl(tmp_path: pathlib.Path) -> pathlib.Path:
    """40 works of a few authors, fetched, a fortieth of them gone."""
    works = world.made_up(40, tags=("猫耳", "メイド"))
    for number, work in enumerate(works.works.values()):
        work.user_id = 1 + number % 4
        work.title = f"title {number}"
        work.tags = [("猫耳", "cat ears"), ("メイド", "")]
    with server.FakePixiv(works) as site:
        crawl_runs.list_works(tmp_path / "crawl", site.url, ["猫耳", "メイド"])
        gone = next(iter(works.works.values()))
        gone.is_deleted = True
        crawl_runs.fetch(tmp_path / "crawl", site.url)
    return tmp_path / "crawl"


def lines(path: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_an_export_is_a_crawl_folder(crawl):
    assert export.export(crawl, crawl) == 39
    pictures, rejects = folders.read_folder(crawl)
    assert len(pictures) == 39 and rejects == []
    picture = pictures[0]
    assert (picture.page, picture.tags) == (0, ("猫耳", "メイド"))
    assert picture.translations == (("猫耳", "cat ears"),)
    assert picture.title == "title 1" and picture.user == "2"
    assert picture.source == f"https://www.pixiv.net/artworks/{picture.id}"
    entry = lines(crawl / "metadata.jsonl")[0]
    assert (entry["width"], entry["height"]) == (96, 96)


def test_an_export_elsewhere_has_the_pictures_too(crawl, tmp_path):
    to = tmp_path / "elsewhere"
    assert export.export(crawl, to) == export.export(crawl, to) == 39
    pictures, rejects = folders.read_folder(to)
    assert len(pictures) == 39 and rejects == []
    assert sorted(os.listdir(to)) == ["images", "metadata.jsonl"]


def test_where_links_are_impossible_pictures_are_copied(crawl, tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    export.export(crawl, tmp_path / "elsewhere")
    pictures, _ = folders.read_folder(tmp_path / "elsewhere")
    original = crawl / pictures[0].path.relative_to(tmp_path / "elsewhere")
    assert pictures[0].path.read_bytes() == original.read_bytes()
    assert pictures[0].path.stat().st_ino != original.stat().st_ino


def test_ids_and_tags_alone_can_be_shared(crawl, tmp_path):
    assert export.export_ids(crawl, tmp_path / "share") == 39
    assert os.listdir(tmp_path / "share") == ["ids.jsonl"]
    for line in lines(tmp_path / "share" / "ids.jsonl"):
        assert set(line) == {"id", "page", "tags"}


def test_before_a_picture_is_there_ids_can_be_exported(tmp_path):
    with server.FakePixiv(world.made_up(3)) as site:
        crawl_runs.list_works(tmp_path, site.url)
    assert export.export(tmp_path, tmp_path) == 0
    assert export.export_ids(tmp_path, tmp_path) == 3


def test_what_was_filtered_out_later_is_not_exported(crawl):
    with server.FakePixiv(world.made_up(1)) as site:
        opted = frozenset({2, 3})
        crawl_runs.fetch(crawl, site.url, opt_out_users=opted)
    assert export.export(crawl, crawl) == 19
    assert {entry["user"] for entry in lines(crawl / "metadata.jsonl")} == {1, 4}


def files_of(crawl: pathlib.Path) -> set[str]:
    return {path.name for path in (crawl / "images").rglob("*_p*")}


def test_an_author_is_purged_and_does_not_come_back(crawl):
    export.export(crawl, crawl)
    theirs = {e["id"] for e in lines(crawl / "metadata.jsonl") if e["user"] == 2}
    assert len(theirs) == 10
    assert purge.purge(crawl, user=2) == 10
    assert not files_of(crawl) & {f"{id_}_p0.jpg" for id_ in theirs}
    assert len(files_of(crawl)) == 29
    assert {e["user"] for e in lines(crawl / "metadata.jsonl")} == {1, 3, 4}
    for table, column in (
        ("work", "id"),
        ("picture", "work_id"),
        ("work_label", "work_id"),
    ):
        rows = crawl_runs.rows(crawl, f"SELECT {column} FROM {table}")
        assert not theirs & {row[0] for row in rows}
    content = b"".join(path.read_bytes() for path in crawl.glob("manifest.sqlite*"))
    assert not any(str(id_).encode() in content for id_ in theirs)
    works = world.made_up(40, tags=("猫耳", "メイド"))
    for number, work in enumerate(works.works.values()):
        work.user_id = 1 + number % 4
    with server.FakePixiv(works) as site:
        crawl_runs.list_works(
            crawl, site.url, ["メイド"], last=crawl_runs.FIRST.replace(year=2023)
        )
    rows = crawl_runs.rows(crawl, "SELECT id FROM work WHERE user_id = 2")
    assert rows == []


def test_when_all_is_purged_nothing_is_left_of_what_was_exported(crawl):
    export.export(crawl, crawl)
    export.export_ids(crawl, crawl)
    for user in range(1, 5):
        purge.purge(crawl, user=user)
    assert lines(crawl / "metadata.jsonl") == lines(crawl / "ids.jsonl") == []


def test_a_work_is_purged(crawl):
    id_ = crawl_runs.rows(crawl, "SELECT max(id) FROM work")[0][0]
    assert purge.purge(crawl, work=id_) == 1
    assert f"{id_}_p0.jpg" not in files_of(crawl)
    assert purge.purge(crawl, work=id_) == 0  # and need not be there


def test_a_purge_that_was_killed_goes_on(crawl, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(purge.picture_task, "remove_files", _die)
        with pytest.raises(KeyboardInterrupt):
            purge.purge(crawl, user=2)
    assert export.export(crawl, crawl) == 29  # nothing of theirs any more
    assert purge.purge(crawl, user=2) == 10
    assert len(files_of(crawl)) == 29


def _die(*_: object) -> None:
    raise KeyboardInterrupt


def test_status_says_it_all(crawl, tmp_path):
    found = status.read(crawl)
    files_lib.write_json(tmp_path / "status.json", found)
    assert found["windows"]["open"] == found["windows"]["failed"] == 0
    assert found["pictures"] == {
        **{"owed": 0, "over_quota": 0, "done": 39, "failed": 0},
        **{"gone": 1, "restricted": 0, "unusable": 0},
    }
    assert found["works"] == 40 and found["excluded"] == {}
    assert found["labels"]["猫耳"] == {
        **{"works": 40, "excluded": 0},
        **{"owed": 0, "over_quota": 0, "done": 39, "failed": 0},
        **{"gone": 1, "restricted": 0, "unusable": 0},
    }
    assert found["forecast"]["list_s"] == found["forecast"]["fetch_s"] == 0
    text = status_text.format_status(found)
    assert "39 done" in text and "猫耳" in text


def test_the_forecast_is_made_from_the_pace_before_and_the_rate_after(tmp_path):
    manners = crawl_runs.MANNERS.__class__(image_interval_s=0.5, api_interval_s=0.0)
    with server.FakePixiv(world.made_up(300)) as site:
        crawl_runs.list_works(tmp_path, site.url, manners=manners)
        assert status.read(tmp_path)["forecast"]["fetch_s"] == 150.0
        crawl_runs.fetch(tmp_path, site.url, quota=150)
    with crawl_runs.manifests.opened(tmp_path) as manifest:
        manifest.connection.execute("UPDATE run SET seconds = 75 WHERE pictures > 0")
        manifest.connection.execute("UPDATE picture SET chosen = 1")
    assert status.read(tmp_path)["forecast"]["fetch_s"] == 150 * 75 / 150
