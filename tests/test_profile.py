"""Which steps are traced, by a profiler of JAX's that the test watches."""

import re

import jax
import pytest
from command_line import mlgcn

from mlgcn_jax.training import profile


@pytest.mark.parametrize(
    ("text", "steps"), [("1-1", [1]), ("20-22", [20, 21, 22]), ("9-10", [9, 10])]
)
def test_steps(text, steps):
    assert list(profile.parse_steps(text)) == steps


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the first and the last step, as in 20-25: ''"),
        ("5", "as in 20-25: '5'"),
        ("-5", "as in 20-25"),
        ("5-", "as in 20-25"),
        ("1.5-2", "as in 20-25"),
        ("0-5", "0-5: steps count from 1"),
        ("7-6", "the last is not before the first"),
    ],
)
def test_steps_that_are_none(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        profile.parse_steps(text)


@pytest.fixture
def traced(monkeypatch):
    """What is done: the number of a step, or what the profiler was asked for."""
    happened = []
    monkeypatch.setattr(
        jax.profiler, "start_trace", lambda folder: happened.append(f"start {folder}")
    )
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: happened.append("stop"))
    return happened


def run_steps(happened, tmp_path, steps: range, *, step: int, num_steps: int):
    """The order of calls of the training loop."""
    with profile.profiling(steps, tmp_path, step=step, num_steps=num_steps) as profiler:
        while True:
            profiler.after(step, ())
            if step == num_steps:
                return happened
            step += 1
            happened.append(step)


@pytest.mark.parametrize(
    ("steps", "step", "expected"),
    [
        (range(2, 4), 0, [1, "start", 2, 3, "stop", 4, 5]),
        (range(1, 2), 0, ["start", 1, "stop", 2, 3, 4, 5]),
        (range(4, 99), 0, [1, 2, 3, "start", 4, 5, "stop"]),
        (range(2, 5), 3, ["start", 4, "stop", 5]),  # resumed amid them
        (range(2, 4), 3, [4, 5]),  # resumed after them
        (range(0), 0, [1, 2, 3, 4, 5]),
    ],
)
def test_which_steps_are_traced(traced, tmp_path, caplog, steps, step, expected):
    run_steps(traced, tmp_path, steps, step=step, num_steps=5)
    start = f"start {tmp_path / 'process0'}"
    assert traced == [start if x == "start" else x for x in expected]
    is_late = (steps, step) == (range(2, 4), 3)
    assert ("the run is at step 3 already" in caplog.text) == is_late
    is_cut_short = steps == range(4, 99)
    assert ("the run ends with step 5" in caplog.text) == is_cut_short


def test_a_run_that_fails_ends_its_trace(traced, tmp_path):
    with pytest.raises(OSError):
        with profile.profiling(range(1, 9), tmp_path, step=0, num_steps=9) as profiler:
            profiler.after(0, ())
            raise OSError
    assert traced[-1] == "stop"


def test_steps_that_the_run_does_not_have(tmp_path):
    with pytest.raises(ValueError, match=r"--profile_steps=6-8: the run has only 5"):
        with profile.profiling(range(6, 9), tmp_path, step=0, num_steps=5):
            pass


@pytest.mark.parametrize("stage", ["train", "launch"])
def test_a_range_that_is_none_is_a_wrong_call(tmp_path, stage):
    config = "--config=configs/default.py"
    _, error = mlgcn(
        stage, config, "--workdir=x", "--profile_steps=9-3", cwd=".", status=2
    )
    assert "profile_steps" in error and "9-3: steps count from 1" in error
    assert "Traceback" not in error
