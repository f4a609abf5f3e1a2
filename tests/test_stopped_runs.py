"""Runs that are stopped: they save, say so, and go on as if nothing had been."""

import math
import os
import pathlib
import signal
import subprocess
import sys
import time

import configurations
import jax
import numpy as np
import pytest
from run_logs import TINY_CONFIG, curves, final_state

from mlgcn_jax.data import dataset
from mlgcn_jax.evaluation import metrics, scoring
from mlgcn_jax.runs import checkpoints, run_folder
from mlgcn_jax.training import train


def test_a_signal_while_validating_ends_the_run_at_once(
    data_dir, tmp_path, monkeypatch
):
    """It is saved before it validates, and validates when it goes on."""
    config = configurations.tiny(data_dir, batch_size=8)
    score = scoring.Scorer.__call__
    calls = []

    def score_and_be_stopped(self, image):
        calls.append(image.shape)
        os.kill(os.getpid(), signal.SIGTERM)
        return score(self, image)

    with monkeypatch.context() as patched:
        patched.setattr(scoring.Scorer, "__call__", score_and_be_stopped)
        assert train.train_and_evaluate(config, tmp_path) == signal.SIGTERM
    assert len(calls) == 1  # of two batches
    num_examples = dataset.open_dataset(data_dir).num_examples("train")
    first, second = (math.ceil(epoch * num_examples / 8) for epoch in (1, 2))
    assert checkpoints.saved_steps(tmp_path / "checkpoints") == [first]
    assert train.train_and_evaluate(config, tmp_path) is None
    validated = [c["step"] for c in curves(tmp_path) if "validation/CF1" in c]
    assert validated == [first, second]


def test_a_signal_in_the_last_moment_is_told_though_the_run_is_done(
    data_dir, tmp_path, monkeypatch
):
    """Whoever would go on with something else after it must know."""
    config = configurations.tiny(data_dir, num_epochs=1)
    compute = metrics.compute_metrics

    def compute_and_be_stopped(scores, labels):
        os.kill(os.getpid(), signal.SIGTERM)
        return compute(scores, labels)

    with monkeypatch.context() as patched:
        patched.setattr(metrics, "compute_metrics", compute_and_be_stopped)
        assert train.train_and_evaluate(config, tmp_path) == signal.SIGTERM
    log = run_folder.RunFolder(tmp_path).metrics_log.read_text()
    assert "validation" in log.splitlines()[-1]
    assert train.train_and_evaluate(config, tmp_path) is None
    assert run_folder.RunFolder(tmp_path).metrics_log.read_text() == log


def train_command(data_dir: pathlib.Path, workdir: pathlib.Path) -> list[str]:
    return [
        *(sys.executable, "-m", "mlgcn_jax.cli", "train"),
        f"--config={TINY_CONFIG}",
        f"--config.data_dir={data_dir}",
        f"--workdir={workdir}",
        "--config.num_epochs=40",
        "--config.optimizer.schedule=warmup_cosine",
        "--config.optimizer.ema_decay=0.9",
        "--config.keep_checkpoints=1",
        "--config.evaluate_every_epochs=20",
        "--config.checkpoint_every_epochs=40",
    ]


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    return {**os.environ, "JAX_NUM_CPU_DEVICES": "2"}


@pytest.fixture(scope="module")
def whole(data_dir, environment, tmp_path_factory) -> pathlib.Path:
    """The run that nothing stopped."""
    workdir = tmp_path_factory.mktemp("whole")
    command = train_command(data_dir, workdir)
    subprocess.run(command, check=True, env=environment, timeout=300)
    return workdir


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)]
)
def test_a_stopped_run_goes_on_bit_for_bit(
    data_dir, environment, whole, tmp_path, number, status
):
    """A signal in the middle of an epoch, then the same command again."""
    command = train_command(data_dir, tmp_path)
    with subprocess.Popen(command, env=environment) as process:
        log = run_folder.RunFolder(tmp_path).metrics_log
        while not log.exists() or log.read_text().count("\n") < 8:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        assert process.wait(timeout=120) == status
    saved = checkpoints.latest_step(run_folder.RunFolder(tmp_path).checkpoints)
    total = curves(whole)[-1]["step"]
    assert saved is not None and 8 <= saved < total
    subprocess.run(command, check=True, env=environment, timeout=300)
    jax.tree.map(
        np.testing.assert_array_equal, final_state(tmp_path), final_state(whole)
    )
    assert [line["step"] for line in curves(tmp_path)] == [
        line["step"] for line in curves(whole)
    ]
