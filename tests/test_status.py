"""`mlgcn status`: of folders written by hand, and of a run that is trained, killed."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
from command_line import mlgcn
from run_logs import TINY_CONFIG

from mlgcn_jax.runs import checksums, heartbeats, run_paths, run_status, status_text

NOW = 1_000_000.0


def gone_pid() -> int:
    """The number of a process that was."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


def beat(folder: pathlib.Path, process: int, **changes) -> None:
    heartbeats.write(
        folder,
        {
            "process": process,
            "num_processes": 4,
            "host": "n1",
            "pid": 7,
            "time": NOW - 4,
            "interval_s": 10.0,
            "state": "training",
            "last_sign": NOW - 9,
            "step": 30,
            "num_steps": 120,
            "steps_per_epoch": 20,
            "host_memory_bytes": 3 * 2**30,
            **changes,
        },
    )


@pytest.fixture
def run(tmp_path) -> run_paths.RunPaths:
    """Four processes, step 30 of 120, two validations, two checkpoints."""
    paths = run_paths.RunPaths(tmp_path)
    paths.config.write_text(
        json.dumps(
            {
                "model": {
                    "backbone": "densenet121",
                    "head": "gcn",
                    "pooling": "max",
                    "dtype": "bfloat16",
                },
                "image_size": 512,
                "batch_size": 64,
                "num_epochs": 6,
                "optimizer": {"learning_rate": 0.001},
                "seed": 0,
            }
        )
    )
    paths.dataset.write_text('{"directory": "/data/top40", "fingerprint": "f"}')
    speed = {"images_per_s": 128.0, "step_s": 0.5, "data_wait_share": 0.25}
    lines = [
        {"step": 10, "loss": 0.5, **speed},
        {"step": 10, "validation/mAP": 0.6, "validation/CF1": 0.5},
        {"step": 20, "validation/mAP": 0.5},
        {"step": 30, "loss": 0.25, **speed},
    ]
    paths.metrics_log.write_text("".join(json.dumps(x) + "\n" for x in lines))
    for step in (10, 20):
        folder = paths.checkpoints / str(step)
        folder.mkdir(parents=True)
        (folder / "array").write_bytes(bytes(100))
        checksums.write(folder, [folder / "array"])
    (paths.checkpoints / "saving-30").mkdir()
    for process in range(4):
        beat(paths.heartbeats, process)
    return paths


def read(run, **options):
    return run_status.read(run.workdir, now=NOW, **options)


def test_a_run_that_is_at_work(run):
    """90 steps are left, half a second each."""
    status = read(run)
    assert (status["state"], status["alive"]) == ("training", True)
    assert (status["step"], status["num_steps"]) == (30, 120)
    assert (status["done_share"], status["epoch"]) == (0.25, 1.5)
    assert (status["loss"], status["left_s"]) == (0.25, 45.0)
    assert status["validation"] == {"step": 20, "mAP": 0.5}
    assert status["best_validation"] == {"step": 10, "mAP": 0.6}
    assert status["best_kept_validation"] == {"step": 10, "mAP": 0.6}
    assert [c["step"] for c in status["checkpoints"]] == [20, 10]
    assert [p["age_s"] for p in status["processes"]] == [4.0] * 4
    assert status["dataset"] == "/data/top40"
    assert status["problems"] == []
    json.dumps(status, allow_nan=False)


def test_its_text(run):
    text = status_text.format_status(read(run))
    for part in (
        "densenet121-gcn-max, 512 px, batch 64, bfloat16, rate 0.001, seed 0",
        "step 30 of 120 (25.0%), epoch 1.5 of 6, 0:00:45 left",
        "mAP 0.500 at step 20, best 0.600 at step 10",
        "128 images/s, 0.5 s a step, 25% waiting for data",
        "20, 10 (not read; --check does)",
        "0 of 4, pid 7 on n1: training, heartbeat 4 s ago, last sign of work 9 s ago; "
        "3.00 GiB on the host",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("removed", "text"),
    [
        ((), "mAP 0.500 at step 20, best 0.600 at step 10\n"),
        ((20,), "mAP 0.500 at step 20, best 0.600 at step 10\n"),
        (
            (10,),
            "mAP 0.500 at step 20, best 0.600 at step 10 (not kept), "
            "of those kept best 0.500 at step 20\n",
        ),
        ((10, 20), "mAP 0.500 at step 20, best 0.600 at step 10 (not kept)\n"),
    ],
)
def test_a_best_step_that_is_not_there_is_not_named_as_if_it_were(run, removed, text):
    for step in removed:
        shutil.rmtree(run.checkpoints / str(step))
    assert text in status_text.format_status(read(run))


@pytest.mark.parametrize(
    ("changes", "verdict", "text"),
    [
        ({"time": NOW - 29}, "training", "heartbeat 29 s ago"),
        ({"time": NOW - 31}, "silent", "silent since 1970"),
        ({"host": "here", "pid": "gone"}, "dead", "dead since 1970"),
        ({"host": "here", "pid": "own"}, "training", "heartbeat 4 s ago"),
        ({"host": "here", "pid": "own", "time": NOW - 99}, "silent", "silent since"),
        ({"state": "finished", "time": NOW - 9999}, "finished", "finished at 1970"),
        ({"state": "stopped"}, "stopped", "stopped at"),
        ({"state": "failed: ValueError: x"}, "failed: ValueError: x", "x at 1970"),
    ],
)
def test_what_is_said_of_a_process(run, changes, verdict, text):
    """On this host by its number; elsewhere by its heartbeat, due every 10 s."""
    pids = {"gone": gone_pid(), "own": os.getpid()}
    if changes.get("host") == "here":
        changes = changes | {"host": socket.gethostname(), "pid": pids[changes["pid"]]}
    beat(run.heartbeats, 2, **changes)
    status = read(run)
    assert status["processes"][2]["verdict"] == verdict
    assert status["processes"][2]["alive"] == (verdict == "training")
    is_bad = verdict.startswith(("failed", "dead", "silent"))
    assert status["state"] == (verdict if is_bad else "training")
    lines = status_text.format_status(status).splitlines()
    (line,) = (line for line in lines if line.startswith("process      2"))
    assert text in line


def test_a_process_without_a_heartbeat(run):
    heartbeats.path(run.heartbeats, 3).unlink()
    status = read(run)
    assert status["state"] == "no heartbeat"
    assert "3: no heartbeat yet" in status_text.format_status(status)


def test_a_damaged_checkpoint_is_found_where_asked_for(run):
    (run.checkpoints / "20" / "array").write_bytes(bytes(99) + b"x")
    assert [c["damage"] for c in read(run)["checkpoints"]] == [None, None]
    damaged, whole = read(run, check_checkpoints=True)["checkpoints"]
    assert "array has changed" in damaged["damage"] and whole["damage"] is None
    text = status_text.format_status(read(run, check_checkpoints=True))
    assert "20 DAMAGED: array has changed" in text and "10 (checked)" in text


FILES = ("config.json", "dataset.json", "metrics.jsonl", "heartbeats/process0.json")


@pytest.mark.parametrize("name", [*FILES, "metrics.json"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"step": 12, "lo',
        b"\xff\x00\n\xfe\n",
        b"[1, 2]\n",
        b"null\n",
        b'{"step": "x", "time": [], "state": 3, "mAP": "y", "model": 7}\n',
        b'{"step": 5, "loss": "z", "images_per_s": {}, "validation/mAP": []}\n',
        b'{"step": 5, "loss": NaN, "step_s": Infinity}\n',
    ],
)
def test_a_damaged_file_is_a_problem_and_no_error(run, name, content):
    (run.workdir / name).write_bytes(content)
    status = read(run)
    text = status_text.format_status(status)
    json.dumps(status)
    if name != "metrics.jsonl" and b"{" not in content[:1]:
        assert any(name in problem for problem in status["problems"]), text


def test_a_run_with_nothing_but_one_of_its_files(run):
    for path in (run.config, run.dataset, run.metrics_log):
        path.unlink()
    assert read(run)["step"] == 30
    for process in range(4):
        heartbeats.path(run.heartbeats, process).unlink()
    status = read(run)
    assert (status["state"], status["step"], status["num_steps"]) == (None, 0, None)
    assert "20, 10" in status_text.format_status(status)


@pytest.mark.parametrize("name", ["none", "empty"])
def test_what_is_no_run_is_told_in_one_line(tmp_path, name):
    (tmp_path / "empty").mkdir()
    _, error = mlgcn("status", tmp_path / name, cwd=tmp_path, status=1)
    (line,) = error.splitlines()
    assert f"{name} is not a " in line and "--workdir" in line


def test_heartbeats_of_processes_that_the_run_no_longer_has_go(run):
    heartbeats.remove_of_others(run.heartbeats, 2)
    assert list(heartbeats.read(run.heartbeats).heartbeats) == [0, 1]


def test_the_status_of_a_run_from_its_start_to_its_death(data_dir, tmp_path):
    command = [sys.executable, "-m", "mlgcn_jax.cli", "train"]
    options = [
        f"--config={TINY_CONFIG}",
        f"--config.data_dir={data_dir}",
        "--config.num_epochs=10000",
        f"--workdir={tmp_path / 'run'}",
    ]
    paths = run_paths.RunPaths(tmp_path / "run")

    def status():
        mlgcn("status", paths.workdir, f"--json={tmp_path / 'out'}", cwd=tmp_path)
        return json.loads((tmp_path / "out").read_text())

    with subprocess.Popen([*command, *options]) as process:
        while not heartbeats.path(paths.heartbeats, 0).exists():
            assert process.poll() is None
            time.sleep(0.01)
        assert status()["alive"]
        while (found := status())["validation"] is None:
            assert process.poll() is None
        assert found["alive"] and found["state"] in ("training", "validating", "saving")
        assert 0 < found["step"] < found["num_steps"]
        assert found["processes"][0]["pid"] == process.pid
        assert found["images_per_s"] > 0 and found["left_s"] > 0
        process.send_signal(signal.SIGKILL)
    found = status()
    assert (found["state"], found["alive"]) == ("dead", False)
    assert found["processes"][0]["pid"] == process.pid


def test_it_imports_nothing_heavy():
    """JAX, orbax and TFDS take seconds; a status is asked for every few of them."""
    program = (
        "import sys; from mlgcn_jax import cli; import mlgcn_jax.commands.status; "
        "print({'jax', 'orbax', 'tensorflow_datasets', 'numpy'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
