"""A run that loses its folder and goes on from a server that speaks S3, by hand.

    pip install s3fs 'moto[server]'
    PYTHONPATH=tests python tests/s3_server.py

The run is killed while it trains, its folder is deleted, and the same command is given
again. What comes out must be, bit for bit, what an undisturbed run computes.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

import crawl_folders
import jax
import numpy as np
from process_runs import free_port, said, start, wait
from run_logs import final_state

_OPTIONS = ("--config.num_epochs=30",)
_STORE = "s3://bucket/run"


def main() -> None:
    """Its last line says that it passed."""
    url = f"http://127.0.0.1:{free_port()}"
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "us-east-1",
        "FSSPEC_S3": json.dumps({"endpoint_url": url}),
    }
    command = [sys.executable, "-m", "moto.server", "-p", url.rpartition(":")[2]]
    server = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with tempfile.TemporaryDirectory() as name:
            _lose_a_run(url, pathlib.Path(name))
    finally:
        server.kill()


def _lose_a_run(url: str, folder: pathlib.Path) -> None:
    _make_bucket(url)
    crawl = crawl_folders.make_crawl_folder(folder / "crawl", num_works=60)
    data_dir = folder / "built"
    crawl_folders.build_dataset(crawl, data_dir)
    whole, lost = folder / "whole", folder / "lost"
    started = start(whole, data_dir, num_processes=1, options=_OPTIONS)
    assert wait(started) == [0], said(whole)
    options = (*_OPTIONS, f"--config.checkpoint_store={_STORE}")
    (process,) = start(lost, data_dir, num_processes=1, options=options)
    while "was copied to" not in said(lost):
        assert process.poll() is None, said(lost)
        time.sleep(0.01)
    process.kill()
    process.wait()
    shutil.rmtree(lost)
    started = start(lost, data_dir, num_processes=1, options=options)
    assert wait(started) == [0], said(lost)
    print(next(line for line in said(lost).splitlines() if "was fetched" in line))
    ours, theirs = (jax.device_get(final_state(run)) for run in (lost, whole))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    print("passed")


def _make_bucket(url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            request = urllib.request.Request(f"{url}/bucket", method="PUT")
            urllib.request.urlopen(request).close()
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


if __name__ == "__main__":
    main()
