"""Processes that really hang: they end with status 75 and say where."""

import os
import pathlib
import subprocess
import sys
import time

import pytest
import stuck_config
from command_line import mlgcn
from run_logs import curves

from mlgcn_jax.runs import heartbeats, run_paths

# What comes after "step 7": each is a way to be stuck, or not.
WAYS = {
    "sleeps": "time.sleep(1000)",
    "waits for a thread": "threading.Event().wait()",
    "waits for a process": "os.read(os.pipe()[0], 1)",
    "keeps the interpreter lock": "ctypes.PyDLL(None).sleep(1000)",
    "is slow": "for i in range(8): time.sleep(0.5); dog.beat(f'step {i}')",
    "pauses": "dog.pause(); time.sleep(4)",
}
PROGRAM = """
import ctypes, os, pathlib, sys, threading, time
from mlgcn_jax.training import watchdog

def hang_here():
    {way}

stacks = pathlib.Path(sys.argv[1])
with watchdog.watching({timeout_s}, process="process 3 of 8", stacks=stacks) as dog:
    time.sleep(2 * {timeout_s})  # nothing is expected before the first sign
    dog.beat("step 7")
    hang_here()
print("came to its end")
"""


def run_program(way: str, stacks: pathlib.Path, *, timeout_s: float = 1.5):
    source = PROGRAM.format(way=WAYS[way], timeout_s=timeout_s)
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", source, str(stacks)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done, time.monotonic() - start


@pytest.mark.parametrize("way", ["sleeps", "waits for a thread", "waits for a process"])
def test_a_process_without_a_sign_of_life_ends_and_says_where_it_was(tmp_path, way):
    done, seconds = run_program(way, tmp_path / "stacks.txt")
    assert done.returncode == os.EX_TEMPFAIL == 75
    assert 3 * 1.5 < seconds < 30
    first, *stacks = done.stderr.splitlines()
    assert first.startswith("watchdog: process 3 of 8 is stuck: no sign of life since ")
    assert "(step 7), for more than 1.5 s" in first
    assert any(line.endswith("in hang_here") for line in stacks)
    written = (tmp_path / "stacks.txt").read_text()
    assert written.startswith(first) and "in hang_here" in written


def test_a_process_that_never_gives_the_interpreter_lock_back_ends_too(tmp_path):
    done, _ = run_program("keeps the interpreter lock", tmp_path / "stacks.txt")
    assert done.returncode == 75
    assert "Timeout" in done.stderr and "in hang_here" in done.stderr


@pytest.mark.parametrize("way", ["is slow", "pauses"])
def test_a_process_that_gives_signs_or_expects_none_goes_on(tmp_path, way):
    done, _ = run_program(way, tmp_path / "stacks.txt")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "came to its end\n"
    assert list(tmp_path.iterdir()) == []


def test_no_watchdog(tmp_path):
    done, _ = run_program("is slow", tmp_path / "stacks.txt", timeout_s=0.0)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_stack_file_that_cannot_be_written_keeps_nobody(tmp_path):
    done, _ = run_program("sleeps", tmp_path / "none" / "stacks.txt")
    assert done.returncode == 75 and "in hang_here" in done.stderr


def test_a_run_whose_step_hangs(data_dir, tmp_path):
    """All its slow steps together take longer than the watchdog waits, none alone."""
    _, errors = mlgcn(
        "train",
        f"--config={stuck_config.__file__}",
        f"--config.data_dir={data_dir}",
        "--config.stuck_after_s=3",
        "--config.num_epochs=20",
        "--config.evaluate_every_epochs=1",
        f"--workdir={tmp_path}",
        cwd=tmp_path,
        status=75,
    )
    done = [line["step"] for line in curves(tmp_path) if "loss" in line]
    assert done == list(range(1, 1 + stuck_config.SLOW_STEPS))
    assert "watchdog: process 0 of 1 (pid " in errors
    assert "in wait_for_nobody" in errors
    paths = run_paths.RunPaths(tmp_path)
    assert "in wait_for_nobody" in paths.stuck(0).read_text()
    (beat,) = heartbeats.read(paths.heartbeats).heartbeats.values()
    assert (beat["state"], beat["step"]) == ("training", done[-1])
