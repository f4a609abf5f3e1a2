"""A crawl that is killed again and again, and must end as if it had not been.

PYTHONPATH=tests python tests/crawl_kills.py [--kills=100] [--seed=0]

`mlgcn crawl list` and `fetch` run against the fake site and are killed (kill -9) at
random moments. At the end the manifest holds what that of an undisturbed crawl holds,
and the same files are there. And what a manifest has recorded when it is killed, pages
of searches and pictures, is not asked for again: the site's log says so.
"""

import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

import crawl_runs
from absl import app, flags

from mlgcn_jax.fake_pixiv import server, state, world

_KILLS = flags.DEFINE_integer("kills", 100, "How many.")
_SEED = flags.DEFINE_integer("seed", 0, "Of when.")

TAGS = ("猫耳", "メイド")
_CONTENTS = (  # all but the records of runs, and the number of requests of a day
    "SELECT name, aliases FROM label ORDER BY id",
    "SELECT word, first, last FROM search ORDER BY id",
    "SELECT search_id, first, last, state, works, malformed, reason FROM window "
    "ORDER BY id",
    "SELECT id, user_id, excluded, json FROM work ORDER BY id",
    "SELECT work_id, label_id FROM work_label ORDER BY work_id, label_id",
    "SELECT work_id, page, state, chosen, path, bytes, width, height, sha256, reason "
    "FROM picture ORDER BY work_id, page",
)


def main(argv: list[str]) -> None:
    """Runs it; its last line says that it passed."""
    del argv
    with tempfile.TemporaryDirectory() as name:
        run(pathlib.Path(name), kills=_KILLS.value, seed=_SEED.value, num_works=3000)
    print(f"passed: {_KILLS.value} kills, seed {_SEED.value}")


def run(folder: pathlib.Path, *, kills: int, seed: int, num_works: int) -> None:
    """Crawls twice, killed and not, and compares."""
    chance = random.Random(seed)
    works = world.made_up(num_works, tags=TAGS, seed=seed)
    # So slow that the kills fall into all of it.
    with server.FakePixiv(works, latency_s=0.005) as site:
        whole, killed = folder / "whole", folder / "killed"
        for verb in ("list", "fetch"):
            assert _start(verb, whole, site).wait() == 0
        del site.requests[:]
        asked_in_vain = 0
        for verb, of_verb in (("list", kills // 2), ("fetch", kills - kills // 2)):
            while of_verb:
                process = _start(verb, killed, site)
                # Not before it asks: starting takes longer than all the rest.
                begun = len(site.requests)
                while len(site.requests) == begun and process.poll() is None:
                    time.sleep(0.001)
                time.sleep(chance.uniform(0, 2 / kills * _expected_s(verb, num_works)))
                process.kill()
                if process.wait() == 0:
                    print(f"{verb} came to its end before {of_verb} more kills")
                    break
                of_verb -= 1
                asked_in_vain += _forget_unrecorded(killed, site)
            assert _start(verb, killed, site).wait() == 0
        for query in _CONTENTS:
            assert crawl_runs.rows(killed, query) == crawl_runs.rows(whole, query)
        assert _files(killed) == _files(whole)
        asked = [(r.endpoint, r.about) for r in site.requests if r.endpoint != "token"]
        assert len(asked) == len(set(asked)), "something recorded was asked for again"
        print(f"{len(asked)} requests, {asked_in_vain} more whose answers were lost")


def _expected_s(verb: str, num_works: int) -> float:
    """About how long a whole crawl takes, so that the kills spread over it."""
    return num_works * (0.0015 if verb == "list" else 0.004)


def _forget_unrecorded(crawl: pathlib.Path, site: server.FakePixiv) -> int:
    """Takes requests from the log whose answers the dead crawler had not recorded.

    Those may be asked again; all others that stay in the log must not.
    """
    site.wait_until_idle()
    known = {("image", f"{id_} {page}") for id_, page in crawl_runs.rows(crawl, _DONE)}
    open_ = {
        (word, first, last): offset
        for word, first, last, offset in crawl_runs.rows(crawl, _OPEN)
    }

    def is_recorded(request: state.Request) -> bool:
        if request.endpoint == "search":
            word, first, last, offset = request.about.split(" ")
            return int(offset) < open_.get((word, first, last), 1_000_000)
        return (request.endpoint, request.about) in known

    before = len(site.requests)
    site.requests[:] = [r for r in site.requests if is_recorded(r)]
    return before - len(site.requests)


_DONE = "SELECT work_id, page FROM picture WHERE state = 'done'"
_OPEN = (
    "SELECT word, window.first, window.last, "
    "COALESCE(json_extract(query, '$.offset'), 0) + 0 "
    "FROM window JOIN search ON search.id = search_id WHERE state = 'open'"
)


def _start(
    verb: str, folder: pathlib.Path, site: server.FakePixiv
) -> subprocess.Popen[bytes]:
    command = [
        *(sys.executable, "-m", "mlgcn_jax.cli", "crawl", verb, str(folder)),
        *(f"--api_url={site.url}", f"--oauth_url={site.url}", "--api_interval_s=0"),
    ]
    if verb == "list":
        days = (f"--start={crawl_runs.FIRST}", f"--end={crawl_runs.LAST}")
        command += [f"--tags={','.join(TAGS)}", *days]
    else:
        command += ["--image_interval_s=0", "--connections=8"]
    return subprocess.Popen(
        command,
        env={**os.environ, **crawl_runs.ENVIRONMENT},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _files(crawl: pathlib.Path) -> dict[str, bytes]:
    return {
        path.relative_to(crawl).as_posix(): path.read_bytes()
        for path in (crawl / "images").rglob("*")
        if path.is_file()
    }


if __name__ == "__main__":
    app.run(main)
