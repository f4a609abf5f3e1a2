"""Heartbeats of a process, as others read them."""

import os
import pathlib
import socket
import time

import configurations
import pytest

from mlgcn_jax.runs import heartbeats, run_paths
from mlgcn_jax.training import train, vital_signs


def read(paths: run_paths.RunPaths) -> dict:
    (beat,) = heartbeats.read(paths.heartbeats).heartbeats.values()
    return beat


def wait_for(paths: run_paths.RunPaths, **expected) -> dict:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = heartbeats.read(paths.heartbeats).heartbeats.get(0, {})
        if expected.items() <= found.items():
            return found
        time.sleep(0.01)
    raise AssertionError(f"{found} never had {expected}")


def test_a_heartbeat_follows_what_is_done(tmp_path):
    paths = run_paths.RunPaths(tmp_path)
    with vital_signs.shown(paths, stuck_after_s=0.0) as signs:
        first = wait_for(paths, state="starting")
        assert first["host"] == socket.gethostname() and first["pid"] == os.getpid()
        assert (first["process"], first["num_processes"]) == (0, 1)
        assert first["host_memory_bytes"] > 2**20
        signs.enter(vital_signs.TRAINING)
        signs.report({"step": 5, "images_per_s": 7.0})
        with signs.during(vital_signs.SAVING):
            wait_for(paths, state="saving", step=5, images_per_s=7.0)
        wait_for(paths, state="training")
        signs.enter("finished")
    assert read(paths)["state"] == "finished"


def test_a_failure_is_in_the_last_heartbeat(data_dir, tmp_path):
    config = configurations.tiny(data_dir, image_size=4)
    with pytest.raises(ValueError):
        train.train_and_evaluate(config, tmp_path)
    state = read(run_paths.RunPaths(tmp_path))["state"]
    assert state.startswith("failed: ValueError: ") and "image_size" in state


def test_a_finished_run_says_so_and_how_far_it_came(data_dir, tmp_path):
    config = configurations.tiny(data_dir, num_epochs=1)
    paths = run_paths.RunPaths(tmp_path)
    heartbeats.write(paths.heartbeats, {**BEAT_OF_ANOTHER, "process": 1})
    assert train.train_and_evaluate(config, tmp_path) is None
    beat = read(paths)  # alone: the run has one process now
    assert beat["state"] == "finished"
    assert beat["step"] == beat["num_steps"]
    assert beat["num_steps"] - 1 < beat["steps_per_epoch"] <= beat["num_steps"]


BEAT_OF_ANOTHER = {
    "num_processes": 2,
    "host": "n2",
    "pid": 1,
    "time": 0.0,
    "interval_s": 10.0,
    "state": "training",
}


def test_a_heartbeat_that_cannot_be_written_ends_nothing(tmp_path, caplog):
    """Where its folder should be lies a file."""
    paths = run_paths.RunPaths(tmp_path)
    pathlib.Path(paths.heartbeats).write_text("in the way")
    with vital_signs.shown(paths, stuck_after_s=0.0) as signs:
        for step in range(3):
            signs.report({"step": step})
    assert caplog.text.count("no heartbeat could be written") == 1
