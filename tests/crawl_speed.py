"""How fast the crawler is, and how much memory it takes, against the fake site.

PYTHONPATH=tests python tests/crawl_speed.py [--works=200000]

Pictures: `mlgcn crawl fetch` with 16 connections, from a site in a process of its own
that takes 30 ms for each answer; decoded, hashed and recorded. Works: the peak memory
of `mlgcn crawl list` over a made-up site of so many.
"""

import contextlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import crawl_runs
from absl import app, flags

from mlgcn_jax.data import archives, folders

_WORKS = flags.DEFINE_integer("works", 200_000, "Listed; 0 for none.")
_LATENCY_MS = flags.DEFINE_float("latency_ms", 30.0, "Of each answer with a picture.")

_CLI = (sys.executable, "-m", "mlgcn_jax.cli")


def main(argv: list[str]) -> None:
    """Prints the figures."""
    del argv
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        archives.unpack(folders.SAMPLE, folder / "sample")
        with site(folder / "sample", "--latency_ms=0") as url:
            port = url.rpartition(":")[2]
            crawl("list", folder / "crawl", url, "--labels=openclipart40")
        with site(
            folder / "sample", f"--latency_ms={_LATENCY_MS.value}", f"--port={port}"
        ) as url:
            seconds, cpu_s, _ = crawl(
                "fetch",
                folder / "crawl",
                url,
                "--image_interval_s=0",
                "--connections=16",
            )
        (done,) = crawl_runs.rows(
            folder / "crawl", "SELECT pictures, seconds FROM run WHERE verb = 'fetch'"
        )
        print(
            f"fetch: {done[0]} pictures in {done[1]:.1f} s, {done[0] / done[1]:.0f}/s "
            f"({done[0] / seconds:.0f}/s with the start of the command), "
            f"{1000 * cpu_s / done[0]:.1f} ms CPU each"
        )
        for works in filter(None, (_WORKS.value // 20, _WORKS.value)):
            with site(f"--works={works}") as url:
                seconds, _, peak_mb = crawl(
                    "list", folder / str(works), url, "--tags=猫耳"
                )
            print(f"list: {works} works in {seconds:.0f} s, peak {peak_mb:.0f} MB")


@contextlib.contextmanager
def site(*arguments: object) -> Iterator[str]:
    command = [*_CLI, "fake_pixiv", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found is not None
            yield found[0]
        finally:
            process.kill()


def crawl(
    verb: str, folder: pathlib.Path, url: str, *arguments: str
) -> tuple[float, float, float]:
    """Returns seconds, seconds of CPU, and peak memory in MB of a verb."""
    if verb == "list":
        arguments += (f"--start={crawl_runs.FIRST}", f"--end={crawl_runs.LAST}")
    command = [
        *(*_CLI, "crawl", verb, str(folder), *arguments, "--api_interval_s=0"),
        *(f"--api_url={url}", f"--oauth_url={url}"),
    ]
    begin = time.monotonic()
    process = subprocess.Popen(
        command,
        env={**os.environ, **crawl_runs.ENVIRONMENT},
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    seconds = time.monotonic() - begin
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000


if __name__ == "__main__":
    app.run(main)
