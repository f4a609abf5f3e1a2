"""Runs of several real processes over loopback against runs of one."""

import json
import os
import pathlib
import signal
import time

import jax
import numpy as np
import pytest
from process_runs import said, start, wait, wait_for_step
from run_logs import curves, final_state

from mlgcn_jax.runs import checkpoints, run_folder

# 70 steps so small that rounding stays rounding. At 1e-4 the runs agree to 2e-7 for 14
# steps; then in one of them a maximum falls on the other side of its rounding, and
# Adam, which divides by the size of the gradients, doubles that at every step.
LONG = ("--config.num_epochs=10", "--config.optimizer.learning_rate=2e-5")


@pytest.fixture(scope="module")
def alone(data_dir, tmp_path_factory) -> pathlib.Path:
    """The run of one process with one device that the others shall equal."""
    workdir = tmp_path_factory.mktemp("alone") / "run"
    started = start(workdir, data_dir, num_processes=1, options=LONG)
    assert wait(started) == [0], said(workdir)
    return workdir


def losses(workdir: pathlib.Path) -> list[float]:
    return [line["loss"] for line in curves(workdir) if "loss" in line]


@pytest.fixture(scope="module")
def by_two(data_dir, tmp_path_factory) -> pathlib.Path:
    """The same run by two processes with a device each."""
    workdir = tmp_path_factory.mktemp("by_two") / "run"
    started = start(workdir, data_dir, num_processes=2, options=LONG)
    assert wait(started) == [0, 0], said(workdir)
    return workdir


def check_equal(workdir: pathlib.Path, alone: pathlib.Path) -> None:
    assert len(losses(workdir)) >= 50
    np.testing.assert_allclose(losses(workdir), losses(alone), rtol=1e-5)
    validations = [
        [line for line in curves(run) if "validation/mAP" in line]
        for run in (workdir, alone)
    ]
    assert len(validations[0]) == len(validations[1]) == 10
    for ours, theirs in zip(*validations, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_two_processes_compute_what_one_does(alone, by_two):
    check_equal(by_two, alone)


def test_two_processes_with_two_devices_each_share_the_labels(
    alone, data_dir, tmp_path
):
    workdir = tmp_path / "run"
    options = (*LONG, "--config.label_shards=2")
    started = start(workdir, data_dir, num_processes=2, devices_each=2, options=options)
    assert wait(started) == [0, 0], said(workdir)
    check_equal(workdir, alone)


def test_a_signal_to_any_process_saves_and_another_number_of_them_goes_on(
    alone, data_dir, tmp_path
):
    workdir = tmp_path / "run"
    started = start(workdir, data_dir, num_processes=2, options=LONG)
    wait_for_step(workdir, 8, started)
    started[1].send_signal(signal.SIGTERM)
    assert wait(started) == [75, 75], said(workdir)
    step = checkpoints.latest_step(run_folder.RunFolder(workdir).checkpoints)
    assert step is not None and 8 <= step < 50
    started = start(workdir, data_dir, num_processes=1, devices_each=4, options=LONG)
    assert wait(started) == [0], said(workdir)
    np.testing.assert_allclose(losses(workdir), losses(alone), rtol=1e-5)


@pytest.mark.parametrize("victim", [0, 1])
def test_the_others_end_when_one_is_killed(data_dir, tmp_path, victim):
    workdir = tmp_path / "run"
    options = ["--config.num_epochs=400"]
    started = start(workdir, data_dir, num_processes=2, options=options)
    wait_for_step(workdir, 8, started)
    started[victim].kill()
    killed = time.monotonic()
    survivor = started[1 - victim]
    status = survivor.wait(timeout=60)
    assert time.monotonic() - killed < 30
    wait(started)
    assert status == 75, said(workdir)
    log = workdir.with_name(f"run-{1 - victim}.log").read_text()
    assert "another process" in log.splitlines()[-1], log


def test_lost_processes_start_again_and_end_as_if_nothing_had_been(
    by_two, data_dir, tmp_path
):
    options = [*LONG, "--max_restarts=3"]
    disturbed = tmp_path / "disturbed"
    started = start(disturbed, data_dir, num_processes=2, options=options)
    wait_for_step(disturbed, 12, started)
    heartbeats = [
        json.loads(path.read_text())
        for path in sorted((disturbed / "heartbeats").glob("*.json"))
    ]
    os.kill(heartbeats[1]["pid"], signal.SIGKILL)
    assert wait(started) == [0, 0], said(disturbed)
    jax.tree.map(
        np.testing.assert_array_equal, final_state(by_two), final_state(disturbed)
    )


def test_a_process_that_cannot_say_its_error_ends_with_it(tmp_path):
    (tmp_path / "run-0.log").symlink_to("/dev/full")  # as on a full disk
    started = start(tmp_path / "run", tmp_path / "no_dataset", num_processes=2)
    assert wait(started) == [1, 1]
