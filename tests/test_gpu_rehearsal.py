"""The script for a machine with a GPU, rehearsed on this one's CPU."""

import importlib
import json
import os
import pathlib
import subprocess
import sys
import time
import types

import numpy as np
import pytest

FOLDER = pathlib.Path(__file__).parent / "gpu"
sys.path.append(str(FOLDER))
checks = importlib.import_module("checks")
device_stages = importlib.import_module("device_stages")


def test_the_whole_script(tmp_path):
    path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [FOLDER / "run.sh", tmp_path / "out", "--device=cpu", "--small"],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    findings = json.loads((tmp_path / "out" / "checks.json").read_text())
    assert [finding["name"] for finding in findings] == [
        check.__name__.removeprefix("check_")
        for check in (*checks.CHECKS, checks.check_shared_gpu)
    ]
    assert all(finding["passed"] for finding in findings)
    # Sums that round otherwise: the comparison would see a difference.
    assert "differ by 0.0e+00" not in findings[0]["found"]
    assert (tmp_path / "out" / "doctor.json").exists()
    benchmark = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert benchmark == {"U": [], "H": []}  # there was no time


def test_differences():
    expected = np.array([1.0, 2.0, 4.0])
    assert checks.largest_difference(np.array([1.0, 2.0, 4.5]), expected) == 0.125
    assert checks.largest_difference(expected[:2], expected) == np.inf
    assert checks.largest_difference(np.array([1.0, np.nan, 4.0]), expected) == np.inf


@pytest.fixture
def stages(tmp_path):
    return device_stages.Stages(tmp_path / "runs", device="cpu", small=True)


def write_losses(stages, run: str, losses: list[float]) -> None:
    folder = stages.workdir / run
    folder.mkdir()
    lines = [
        json.dumps({"step": step, "loss": loss}) for step, loss in enumerate(losses)
    ]
    lines.insert(1, json.dumps({"step": 1, "validation/mAP": 0.5}))
    (folder / "metrics.jsonl").write_text("\n".join(lines))


def test_a_curve_that_parts_from_the_cpu_s_fails(stages, monkeypatch):
    ended = types.SimpleNamespace(finish=lambda: "")
    monkeypatch.setattr(stages, "start", lambda *_, **__: ended)
    losses = [1 / step for step in range(1, 22)]
    write_losses(stages, "cpu", losses)
    write_losses(stages, "float32", losses)
    assert checks.check_float32(stages)[0]
    write_losses(stages, "bfloat16", [loss * 1.06 for loss in losses])
    passed, found = checks.check_bfloat16(stages)
    assert not passed and "6.0e-02" in found
    losses[20] *= 1.001
    (stages.workdir / "float32" / "metrics.jsonl").unlink()
    (stages.workdir / "float32").rmdir()
    write_losses(stages, "float32", losses)
    passed, found = checks.check_float32(stages)
    assert not passed and "21 losses differ by 1.0e-03" in found


def test_a_check_that_breaks_does_not_end_the_others(stages, monkeypatch, capsys):
    def check_broken(stages):
        stages.run(["no-such-stage"], on="cpu")

    monkeypatch.setattr(
        checks, "CHECKS", (check_broken, lambda _: (True, "all is well"))
    )
    stages.device = "tpu"  # which has no further ones
    *_, (broken, other) = checks.run_checks(stages)
    assert not broken.passed
    assert "01_no-such-stage.txt ended with 2 instead of 0" in broken.found
    assert other.passed
    assert "FAILED" in capsys.readouterr().out


def test_no_check_begins_after_the_deadline(stages, monkeypatch):
    monkeypatch.setattr(checks, "CHECKS", (lambda _: (True, "all is well"),))
    stages.device = "tpu"
    *_, (late,) = checks.run_checks(stages, deadline=time.monotonic() - 1)
    assert not late.passed
    assert late.found == "left out for want of time"


def test_a_stage_that_hangs_is_ended(tmp_path):
    said = tmp_path / "said.txt"
    with said.open("w") as output:
        process = subprocess.Popen(["sleep", "600"], stdout=output)
    stage = device_stages.Stage(process, said, deadline=time.monotonic() + 0.1)
    stage.wait_until(lambda: False)
    with pytest.raises(device_stages.Failure, match="ended with -9 instead of 0"):
        stage.finish()
    assert process.poll() is not None
