"""The command line: help, wrong calls, exit statuses, what a user reads."""

import os
import signal
import subprocess
import sys

import pytest

from mlgcn_jax import cli


def mlgcn(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "mlgcn_jax.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("stage", sorted(cli.STAGES))
def test_every_stage_has_help(stage: str):
    done = mlgcn(stage, "--help")
    assert done.returncode == 0
    assert f"mlgcn {stage}" in done.stdout  # the exact command
    assert "--debug" in done.stdout
    assert done.stderr == ""


def test_help_lists_every_stage():
    done = mlgcn("--help")
    assert done.returncode == 0
    for stage in cli.STAGES:
        assert f"\n  {stage} " in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no stage is given"),
        (("trian",), "unknown stage 'trian'"),
        (("train", "--workdr=x"), "workdr"),
        (("train", "--workdir=x"), "--config"),
        (("train", "--config=configs/default.py"), "--workdir"),
        (
            ("train", "--config=configs/default.py", "--workdir=x", "stray"),
            "unexpected arguments ['stray']",
        ),
        (
            ("train", "--config=configs/default.py", "--config.batch=1"),
            "--config has no key",
        ),
        (
            ("train", "--config=configs/quickstrat.py", "--workdir=x"),
            "--config: [Errno 2] No such file or directory: 'configs/quickstrat.py'",
        ),
        (("evaluate",), "expected the folder of a run"),
        (("predict", "run"), "expected a run and pictures"),
        (("graph",), "expected the folder of a dataset"),
        (("build", "--top=3"), "--data_dir"),
    ],
)
def test_a_wrong_call_is_told_with_status_2(arguments, message):
    done = mlgcn(*arguments)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("def get_config(:", "SyntaxError"),
        ("x = 1", "no attribute 'get_config'"),
        ("import no_such_module", "No module named 'no_such_module'"),
    ],
)
def test_a_config_file_that_does_not_load_is_told_in_one_line(
    tmp_path, content, message
):
    (tmp_path / "config.py").write_text(content)
    done = mlgcn("train", f"--config={tmp_path / 'config.py'}", "--workdir=x")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert message in line
    done = mlgcn("train", f"--config={tmp_path / 'config.py'}", "--debug")
    assert "Traceback" in done.stderr


def test_sigterm_ends_any_stage_with_status_75(tmp_path):
    """Here while it waits for its config, of which nobody writes a line."""
    pipe = tmp_path / "config.py"
    os.mkfifo(pipe)
    command = [sys.executable, "-m", "mlgcn_jax.cli", "train", f"--config={pipe}"]
    with subprocess.Popen([*command, "--workdir=x"], stderr=subprocess.PIPE) as process:
        with pipe.open("w"):  # opens once the other end is opened
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 75
        assert process.stderr is not None and process.stderr.read() == b""


def test_a_failure_is_one_line_with_status_1_and_a_traceback_for_those_who_ask(
    tmp_path,
):
    done = mlgcn("graph", tmp_path / "none")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("mlgcn graph: error: ") and "is not a folder" in line
    done = mlgcn("graph", tmp_path / "none", "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
