"""Fetching from the fake site: whole pictures or none, each asked for as it is due."""

import dataclasses
import datetime
import errno
import hashlib
import pathlib
import resource

import crawl_runs
import pytest

from mlgcn_jax.crawl import fetching, picture_task
from mlgcn_jax.crawl.client import pace, tokens
from mlgcn_jax.crawl.records import status
from mlgcn_jax.data import images
from mlgcn_jax.fake_pixiv import faults, server, world


def asked(site: server.FakePixiv) -> list[str]:
    """Work and page of every picture that was asked for."""
    return [request.about for request in site.requests if request.endpoint == "image"]


def files(folder: pathlib.Path) -> set[str]:
    paths = (folder / "images").rglob("*")
    return {str(path.relative_to(folder)) for path in paths if path.is_file()}


def check_files(folder: pathlib.Path) -> None:
    """What is recorded is there, whole and as recorded; nothing else is."""
    recorded = crawl_runs.rows(
        folder,
        "SELECT path, bytes, sha256, width, height FROM picture WHERE state = 'done'",
    )
    assert {path for path, *_ in recorded} == files(folder)
    for path, num_bytes, sha256, width, height in recorded:
        content = (folder / path).read_bytes()
        assert len(content) == num_bytes
        assert hashlib.sha256(content).hexdigest() == sha256
        assert images.load_rgb(content).size == (width, height)


def test_all_that_is_owed_is_fetched_once(tmp_path):
    works = world.made_up(150)
    with server.FakePixiv(works) as site:
        crawl_runs.list_works(tmp_path, site.url)
        assert crawl_runs.fetch(tmp_path, site.url) == 0
        assert sorted(asked(site)) == sorted(f"{id_} 0" for id_ in works.works)
        assert crawl_runs.fetch(tmp_path, site.url) == 0
        assert len(asked(site)) == 150
    assert crawl_runs.states(tmp_path) == {"done": 150}
    check_files(tmp_path)
    id_ = next(iter(works.works))
    assert f"images/{id_ % 100:02d}/{id_}_p0.jpg" in files(tmp_path)


def test_all_pages_and_originals(tmp_path):
    works = world.made_up(20)
    for work in works.works.values():
        work.num_pages = 3
    with server.FakePixiv(works) as site:
        crawl_runs.list_works(tmp_path, site.url)
        crawl_runs.fetch(tmp_path, site.url)
        assert crawl_runs.states(tmp_path) == {"done": 20}
        crawl_runs.fetch(tmp_path, site.url, all_pages=True, size="original")
        assert len(asked(site)) == len(set(asked(site))) == 60
    assert crawl_runs.states(tmp_path) == {"done": 60}
    check_files(tmp_path)


@pytest.mark.parametrize(
    "effect",
    [
        *("429 seconds", "rate limit", "server error", "html", "truncated"),
        *("garbage", "cut", "drip", "drip of headers", "endless", "reset", "redirect"),
    ],
)
def test_what_passes_is_tried_again(tmp_path, effect):
    works = world.made_up(30)
    script = [faults.Fault("image", effect, calls=[3, 9])]
    with server.FakePixiv(works, script=script) as site:
        crawl_runs.list_works(tmp_path, site.url)
        assert crawl_runs.fetch(tmp_path, site.url) == 0
    assert len(asked(site)) == 32
    assert crawl_runs.states(tmp_path) == {"done": 30}
    check_files(tmp_path)


@pytest.mark.parametrize(
    ("effect", "reason"),
    [
        ("server error", "HTTP 500"),
        ("html", "text/html instead of a picture"),
        ("truncated", "RemoteProtocolError"),
        ("cut", "damaged picture: cannot be read: image file is truncated"),
        ("drip", "took more than 0.5 s"),
        ("drip of headers", "took more than 0.5 s"),
        ("redirect", "HTTP 302, a redirect"),
        ("rate limit", "rate limit"),
    ],
)
def test_what_lasts_fails_with_its_reason_and_is_tried_by_the_next_run(
    tmp_path, effect, reason
):
    works = world.made_up(10)
    id_ = next(iter(works.works))
    script = [faults.Fault("image", effect, work_id=id_, times=3)]
    with server.FakePixiv(works, script=script) as site:
        crawl_runs.list_works(tmp_path, site.url)
        assert crawl_runs.fetch(tmp_path, site.url) == 1
        assert crawl_runs.states(tmp_path) == {"done": 9, "failed": 1}
        (found,) = status.read(tmp_path)["failed"]
        assert found.startswith(reason)
        check_files(tmp_path)
        assert crawl_runs.fetch(tmp_path, site.url) == 0
        assert asked(site).count(f"{id_} 0") == 4
    assert crawl_runs.states(tmp_path) == {"done": 10}


def test_a_revised_work_is_looked_up_once(tmp_path):
    works = world.made_up(10)
    moved, deleted, hidden, other = list(works.works.values())[:4]
    with server.FakePixiv(works) as site:
        crawl_runs.list_works(tmp_path, site.url)
        moved.revision = 1
        deleted.is_deleted = True
        hidden.revision = 1
        hidden.changes["visible"] = False
        other.revision = 1
        other.changes["x_restrict"] = 1
        assert crawl_runs.fetch(tmp_path, site.url) == 0
        details = [r.about for r in site.requests if r.endpoint == "detail"]
    changed = (moved, deleted, hidden, other)
    assert sorted(details) == sorted(str(work.id) for work in changed)
    assert crawl_runs.states(tmp_path) == {"done": 7, "gone": 1}
    assert status.read(tmp_path)["excluded"] == {"R-18": 1, "restricted": 1}
    shard = tmp_path / "images" / f"{moved.id % 100:02d}"
    assert (shard / f"{moved.id}_p0.jpg").read_bytes() == moved.picture(0)
    check_files(tmp_path)


def test_a_picture_that_is_gone_while_its_work_is_there_is_asked_for_once(tmp_path):
    works = world.made_up(3)
    with server.FakePixiv(works) as site:
        crawl_runs.list_works(tmp_path, site.url)
        for work in works.works.values():  # the site tells an address that it lacks
            bad = {"large": f"{site.url}/c/img-master/{work.id}_p0.jpg"}
            work.changes = {"image_urls": bad, "meta_single_page": {}}
        crawl_runs.fetch(tmp_path, site.url)
        assert len(asked(site)) == 3  # what was listed is still there
    assert crawl_runs.states(tmp_path) == {"done": 3}


def test_the_site_cannot_send_us_elsewhere(tmp_path):
    works = world.made_up(2)
    with server.FakePixiv(works) as other, server.FakePixiv(works) as site:
        for work in works.works.values():
            work.changes["image_urls"] = {"large": f"{other.url}/img-master/x.jpg"}
        crawl_runs.list_works(tmp_path, site.url)
        assert crawl_runs.fetch(tmp_path, site.url) == 2
        assert other.requests == [] and asked(site) == []
    assert status.read(tmp_path)["failed"] == {"URL leads elsewhere": 2}


def test_a_picture_too_small_to_use_is_not_asked_for_again(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MIN_SIDE_PX", 1000)
    with server.FakePixiv(world.made_up(4)) as site:
        crawl_runs.list_works(tmp_path, site.url)
        for _ in range(2):
            assert crawl_runs.fetch(tmp_path, site.url) == 0
        assert len(asked(site)) == 4
    assert crawl_runs.states(tmp_path) == {"unusable": 4}
    assert files(tmp_path) == set()


def test_threads_that_need_a_new_token_get_one_together(tmp_path):
    works = world.made_up(40)
    manners = dataclasses.replace(crawl_runs.MANNERS, connections=16)
    with server.FakePixiv(works, latency_s=0.02) as site:
        crawl_runs.list_works(tmp_path, site.url)
        for work in works.works.values():
            work.revision = 1  # so that every thread asks the API
        before = site.num_tokens
        crawl_runs.fetch(tmp_path, site.url, manners=manners)
        assert site.num_tokens == before + 1
    assert crawl_runs.states(tmp_path) == {"done": 40}


def test_a_token_that_expires_under_threads_is_renewed_once(tmp_path):
    works = world.made_up(60)
    manners = dataclasses.replace(crawl_runs.MANNERS, connections=16)
    with server.FakePixiv(works, latency_s=0.02, calls_per_token=25) as site:
        crawl_runs.list_works(tmp_path, site.url)
        for work in works.works.values():
            work.revision = 1
        before = site.num_tokens
        crawl_runs.fetch(tmp_path, site.url, manners=manners)
        assert site.num_tokens == before + 3  # 60 calls, 25 a token
    assert crawl_runs.states(tmp_path) == {"done": 60}


def test_a_dead_refresh_token_ends_the_run(tmp_path):
    works = world.made_up(30)
    script = [faults.Fault("token", "dead token", calls=[2])]
    with server.FakePixiv(works, script=script) as site:
        crawl_runs.list_works(tmp_path, site.url)
        for work in works.works.values():
            work.revision = 1
        with pytest.raises(tokens.RefusedError):
            crawl_runs.fetch(tmp_path, site.url)
        assert sum(r.endpoint == "token" for r in site.requests) == 2


def test_a_site_that_is_down_ends_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "_MAX_FAILURES_IN_A_ROW", 10)
    script = [faults.Fault("image", "server error")]
    with server.FakePixiv(world.made_up(200), script=script) as site:
        crawl_runs.list_works(tmp_path, site.url)
        with pytest.raises(OSError, match=r"pictures in a row failed.*HTTP 500"):
            crawl_runs.fetch(tmp_path, site.url)


def test_a_quota_is_a_fair_sample_of_all_years_and_grows(tmp_path):
    works = world.made_up(300, tags=("猫耳", "メイド"))
    with server.FakePixiv(works) as site:
        crawl_runs.list_works(tmp_path, site.url, ["猫耳", "メイド"])
        crawl_runs.fetch(tmp_path, site.url, quota=60)
        found = status.read(tmp_path)
        assert found["labels"]["猫耳"]["done"] == 60
        assert found["labels"]["メイド"]["done"] == 60
        assert found["pictures"]["over_quota"] == 240
        assert found["pictures"]["owed"] == 0
        first = files(tmp_path)
        days = [works.works[int(about.split()[0])].created for about in asked(site)]
        crawl_runs.fetch(tmp_path, site.url, quota=90)
        assert first < files(tmp_path) and len(files(tmp_path)) == 90
        assert len(asked(site)) == 90
        crawl_runs.fetch(tmp_path, site.url)
        assert crawl_runs.states(tmp_path) == {"done": 300}
    # Of 60 days drawn evenly from six years, the mean is within 3 standard errors
    # (6 years / sqrt(12 * 60) = 82 days) of the middle.
    middle = datetime.datetime(2022, 1, 1, tzinfo=world.JST)
    mean = sum((day - middle).days for day in days) / 60
    assert abs(mean) < 3 * 82


def test_no_label_gets_more_than_its_quota_and_rare_ones_choose_first(tmp_path):
    created = datetime.datetime(2021, 1, 1, tzinfo=world.JST)

    def make(ids, tags) -> list[world.FakeWork]:
        named = [(tag, "") for tag in tags]
        return [
            world.FakeWork(id=id_, user_id=1, created=created, tags=named)
            for id_ in ids
        ]

    works = world.World(
        [
            *make(range(1, 81), ["common"]),
            *make(range(81, 91), ["common", "rare"]),
            *make(range(91, 93), ["rarest"]),
        ]
    )
    with server.FakePixiv(works) as site:
        crawl_runs.list_works(tmp_path, site.url, ["common", "rare", "rarest"])
        crawl_runs.fetch(tmp_path, site.url, quota=8)
    found = status.read(tmp_path)["labels"]
    assert {name: found[name]["done"] for name in found} == {
        "common": 8,
        "rare": 8,  # all of them common too, which is then full
        "rarest": 2,
    }


def test_the_daily_cap_ends_the_run_and_what_came_is_kept(tmp_path):
    works = world.made_up(50)
    with server.FakePixiv(works) as site:
        crawl_runs.list_works(tmp_path, site.url)
        listed = len(site.requests)
        manners = dataclasses.replace(crawl_runs.MANNERS, daily_cap=listed + 20)
        with pytest.raises(pace.DailyCapError):
            crawl_runs.fetch(tmp_path, site.url, manners=manners)
        assert len(asked(site)) == 20
        assert crawl_runs.states(tmp_path) == {"done": 20, "owed": 30}
        check_files(tmp_path)


def test_an_interrupted_run_keeps_what_came(tmp_path, monkeypatch):
    works = world.made_up(100)
    record = fetching._record

    def interrupt(session, outcomes) -> None:
        record(session, outcomes)
        monkeypatch.setattr(fetching, "_record", record)
        raise KeyboardInterrupt

    with server.FakePixiv(works, latency_s=0.01) as site:
        crawl_runs.list_works(tmp_path, site.url)
        monkeypatch.setattr(fetching, "_record", interrupt)
        with pytest.raises(KeyboardInterrupt):
            crawl_runs.fetch(tmp_path, site.url)
        assert 0 < crawl_runs.states(tmp_path)["done"] < 100
        check_files(tmp_path)
        crawl_runs.fetch(tmp_path, site.url)
        assert sorted(asked(site)) == sorted(f"{id_} 0" for id_ in works.works)
    check_files(tmp_path)


def test_what_a_killed_run_left_half_written_is_cleared_away(tmp_path):
    with server.FakePixiv(world.made_up(5)) as site:
        crawl_runs.list_works(tmp_path, site.url)
        half = tmp_path / "images" / "07" / "70000007_p0.jpg.4711.tmp"
        half.parent.mkdir(parents=True)
        half.write_bytes(b"\xff\xd8")
        crawl_runs.fetch(tmp_path, site.url)
    check_files(tmp_path)


def test_a_full_disk_ends_the_run_and_no_half_file_stays(tmp_path):
    """The system's limit of a file's size stands for the disk's end."""
    works = world.made_up(10)
    with server.FakePixiv(works) as site:
        crawl_runs.list_works(tmp_path, site.url)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
            with pytest.raises(OSError) as caught:
                crawl_runs.fetch(tmp_path, site.url)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert caught.value.errno == errno.EFBIG or "disk" in str(caught.value)
        check_files(tmp_path)
        assert crawl_runs.fetch(tmp_path, site.url) == 0
    check_files(tmp_path)


def test_purged_files_are_found_without_the_manifest(tmp_path):
    picture_task.prepare_folder(tmp_path)
    shard = tmp_path / "images" / "23"
    for name in ("123_p0.jpg", "123_p1.png", "1230_p0.jpg"):
        (shard / name).write_bytes(b"")
    picture_task.remove_files(tmp_path, 123)
    assert files(tmp_path) == {"images/23/1230_p0.jpg"}
