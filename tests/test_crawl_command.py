"""`mlgcn crawl` as a user meets it: help, wrong calls, exit statuses, the log."""

import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

import crawl_runs
import pytest

from mlgcn_jax.commands import crawl
from mlgcn_jax.fake_pixiv import faults, server, state, world

DAYS = ("--start=2019-01-01", "--end=2024-12-31")


def start(*words: object, environment: dict[str, str] | None = None):
    return subprocess.Popen(
        [sys.executable, "-m", "mlgcn_jax.cli", "crawl", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or crawl_runs.ENVIRONMENT)},
    )


def run(*words: object, **options) -> tuple[int, str, str]:
    with start(*words, **options) as process:
        out, error = process.communicate(timeout=120)
    assert "Traceback" not in error
    return process.returncode, out, error


def at(site: server.FakePixiv) -> Sequence[str]:
    return (
        *(f"--api_url={site.url}", f"--oauth_url={site.url}"),
        *("--api_interval_s=0",),
    )


def test_help_lists_the_verbs():
    status, out, _ = run("--help")
    assert status == 0
    for verb in crawl.VERBS:
        assert f"\n  {verb} " in out


@pytest.mark.parametrize("verb", crawl.VERBS)
def test_every_verb_has_help_with_its_own_flags(verb):
    status, out, error = run(verb, "--help")
    assert (status, error) == (0, "")
    assert f"mlgcn crawl {verb} FOLDER" in out
    assert ("--tags" in out) == (verb == "list")
    assert ("--quota" in out) == (verb == "fetch")
    assert ("--acknowledge_terms" in out or "--[no]acknowledge" in out) == (
        verb in ("list", "fetch")
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "no verb is given"),
        (("lst", "x"), "unknown verb 'lst'"),
        (("list",), "expected the folder of a crawl"),
        (("list", "x", "y"), "expected the folder of a crawl"),
        (("status", "x", "--tags=a"), "tags"),
        (("list", "x", "--tags=a", "--labels=pixiv40", *DAYS), "one of --tags and"),
        (("list", "x", "--tags=a", "--start=2020-01-01"), "--end= is no day"),
        (
            ("list", "x", "--tags=a", "--start=2020-02-30", DAYS[1]),
            "--start=2020-02-30",
        ),
        (("list", "x", "--tags=a", DAYS[0], "--end=2018-01-01"), "is before"),
        (("list", "x", "--types=novel"), "unknown novel"),
        (("fetch", "x", "--quota=0"), "quota"),
        (("fetch", "x", "--size=huge"), "size"),
        (("purge", "x"), "one of --user and --work"),
        (("purge", "x", "--user=1", "--work=2"), "one of --user and --work"),
    ],
)
def test_a_wrong_call_is_told_with_status_2(words, message):
    with start(*words) as process:
        _, error = process.communicate(timeout=120)
    assert process.returncode == 2, error
    assert message in error and "Traceback" not in error


def test_a_foreign_site_needs_the_terms_acknowledged(tmp_path):
    folder = tmp_path / "new"
    status, _, error = run("list", folder, "--tags=a", *DAYS)
    assert status == 1
    assert "--acknowledge_terms" in error and "docs/crawling.md" in error
    assert not folder.exists()


def test_missing_credentials_are_named_in_one_line(tmp_path):
    environment = dict.fromkeys(crawl_runs.ENVIRONMENT, "")
    with server.FakePixiv(world.made_up(1)) as site:
        words = ("list", tmp_path / "new", "--tags=a", *DAYS, *at(site))
        status, _, error = run(*words, environment=environment)
        assert site.requests == []
    assert status == 1 and "PIXIV_CLIENT_ID" in error
    assert len(error.strip().splitlines()) == 1


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with server.FakePixiv(world.made_up(1)) as site:
        status, _, error = run(
            "list", tmp_path / "file" / "new", "--tags=a", *DAYS, *at(site)
        )
        assert site.requests == []
    assert status == 1 and "file/new cannot be made: Not a directory; name" in error


@pytest.mark.parametrize("verb", ["fetch", "status", "export", "purge"])
def test_a_folder_that_is_no_crawl_is_told(tmp_path, verb):
    extra = ["--user=1"] if verb == "purge" else []
    status, _, error = run(verb, tmp_path, *extra)
    assert status == 1 and "expected the folder of a crawl" in error
    assert os.listdir(tmp_path) == []


def test_the_whole_way(tmp_path):
    folder = tmp_path / "crawl"
    with server.FakePixiv(world.made_up(20)) as site:
        words = ("list", folder, "--tags=猫耳,メイド", *DAYS, *at(site))
        status, out, log = run(*words)
        assert status == 0 and "20 owed" in out
        status, _, error = run("export", folder)
        assert status == 1 and "no pictures yet; run mlgcn crawl fetch" in error
        fetch = ("fetch", folder, *at(site), "--image_interval_s=0")
        status, _, error = run(*fetch)
        assert status == 0, error
        log += error
        given = list(site._calls_of_token)
    assert not any(token in log for token in (*given, state.REFRESH_TOKEN))
    status, out, _ = run("status", folder, f"--json={tmp_path / 'status.json'}")
    assert status == 0 and "20 done" in out and (tmp_path / "status.json").exists()
    assert run("export", folder)[0] == 0
    user = crawl_runs.rows(folder, "SELECT user_id FROM work")[0][0]
    status, out, _ = run("purge", folder, f"--user={user}")
    assert status == 0 and "works purged" in out


def test_failed_pictures_are_told_with_status_1(tmp_path):
    works = world.made_up(3)
    script = [faults.Fault("image", "html", work_id=min(works.works))]
    with server.FakePixiv(works, script=script) as site:
        crawl_runs.list_works(tmp_path, site.url)
        status, _, error = run("fetch", tmp_path, *at(site), "--image_interval_s=0")
    assert status == 1
    assert "1 pictures failed" in error and "mlgcn crawl status" in error


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)]
)
def test_a_signal_ends_the_run_cleanly_and_the_next_goes_on(tmp_path, number, expected):
    works = world.made_up(60)
    with server.FakePixiv(works, latency_s=0.05) as site:
        crawl_runs.list_works(tmp_path, site.url)
        words = ("fetch", tmp_path, *at(site), "--image_interval_s=0.05")
        with start(*words) as process:
            _wait_for_pictures(tmp_path, 10)
            process.send_signal(number)
            _, error = process.communicate(timeout=60)
        assert process.returncode == expected
        assert "Traceback" not in error
        query = "SELECT work_id FROM picture WHERE state = 'done'"
        done = {id_ for (id_,) in crawl_runs.rows(tmp_path, query)}
        assert 10 <= len(done) < 60
        site.wait_until_idle()
        site.requests.clear()
        crawl_runs.fetch(tmp_path, site.url)
        asked = [r.about for r in site.requests if r.endpoint == "image"]
    assert sorted(asked) == sorted(f"{id_} 0" for id_ in works.works.keys() - done)


def test_a_second_crawler_is_told_and_status_is_not(tmp_path):
    with server.FakePixiv(world.made_up(60), latency_s=0.05) as site:
        crawl_runs.list_works(tmp_path, site.url)
        words = ("fetch", tmp_path, *at(site), "--image_interval_s=1")
        with start(*words) as process:
            _wait_for_pictures(tmp_path, 1)
            status, _, error = run("list", tmp_path, *at(site))
            assert status == 1
            assert f"in use by mlgcn crawl fetch, process {process.pid}" in error
            assert run("status", tmp_path)[0] == 0
            process.terminate()
            process.communicate(timeout=60)


def _wait_for_pictures(folder: pathlib.Path, number: int) -> None:
    deadline = time.monotonic() + 60
    while crawl_runs.states(folder).get("done", 0) < number:
        assert time.monotonic() < deadline
        time.sleep(0.02)
