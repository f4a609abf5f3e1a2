"""--dry_run: what it says of the place and the job, and that it does nothing."""

import command_line
import pytest
from launcher_environments import recorded
from run_logs import TINY_CONFIG


def dry_run(stage, *arguments, cwd, status=0):
    """Lines of a dry run on two devices, by name; nothing may be left of it."""
    output, errors = command_line.mlgcn(
        *(stage, f"--config={TINY_CONFIG}", "--config.data_dir=none"),
        *("--workdir=run", "--dry_run", *arguments),
        cwd=cwd,
        status=status,
    )
    assert not list(cwd.iterdir())
    return dict(line.split(maxsplit=1) for line in output.splitlines()), errors


@pytest.mark.parametrize("stage", ["train", "launch"])
def test_a_task_of_slurm(stage, tmp_path, monkeypatch):
    for name, value in recorded("srun_2_tasks_task_1").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "n1:5000")
    said, _ = dry_run(stage, "--config.batch_size=12", cwd=tmp_path)
    assert said == {
        "cluster": "slurm (SLURM job 2, step 0, 2 tasks on n[1-2])",
        "coordinator": "n1:5000",
        "process": "1 of 2, counted from 0",
        "devices": "2 cpu device(s), 4 in all where every process has as many",
        "config": str(TINY_CONFIG),
        "workdir": "run",
        "batch": "12 images a step, 3 a device",
    }


def test_flags_and_what_is_wrong_with_them(tmp_path):
    here = ("--coordinator=h:1", "--num_processes=3", "--process_id=2")
    said, _ = dry_run("train", *here, "--config.batch_size=6", cwd=tmp_path)
    assert said["cluster"] == "explicit (flags)"
    assert said["process"] == "2 of 3, counted from 0"
    assert said["batch"] == "6 images a step, 1 a device"
    _, errors = dry_run("train", *here, "--config.batch_size=8", cwd=tmp_path, status=1)
    assert "batch_size=8 cannot be shared out evenly to 6 devices" in errors
    _, errors = dry_run("train", *here[:2], cwd=tmp_path, status=2)
    assert "found --coordinator, --num_processes alone; give" in errors
