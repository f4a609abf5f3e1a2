"""Speed, waiting and time left, by a clock that the test sets."""

import contextlib
import json
import pathlib
import resource
from collections.abc import Iterator

import jax.numpy as jnp
import pytest

from mlgcn_jax.runs import metric_writer, run_folder
from mlgcn_jax.training import progress, vital_signs


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    return now


def metrics(loss: float, **overrides: float):
    values = {"loss": loss, "learning_rate": 0.5, "grad_norm": 1.0, "param_norm": 2.0}
    return {name: jnp.asarray(v) for name, v in {**values, **overrides}.items()}


@pytest.fixture
def reporter(clock, tmp_path) -> Iterator[progress.Progress]:
    folder = run_folder.RunFolder(tmp_path)
    writer = metric_writer.MetricWriter(folder, step=0)
    with (
        contextlib.closing(writer),
        vital_signs.shown(folder, stuck_after_s=0.0) as signs,
    ):
        yield progress.Progress(
            writer, signs, batch_size=10, step=0, num_steps=103, steps_per_epoch=1.5
        )


def lines(workdir: pathlib.Path) -> list[dict]:
    text = run_folder.RunFolder(workdir).metrics_log.read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_the_first_step_says_nothing_about_speed(tmp_path, clock, reporter, caplog):
    clock[0] += 40  # compilation
    reporter.add(metrics(4.0), data_wait_s=30.0)
    clock[0] += 3
    reporter.add(metrics(3.0), data_wait_s=1.0)
    clock[0] += 1
    reporter.add(metrics(2.0), data_wait_s=0.5)
    with caplog.at_level("INFO"):
        reporter.report()
    # Two steps in 4 s, 1.5 s of them waiting; 100 steps to go at 2 s each.
    (line,) = lines(tmp_path)
    assert line["step"] == 3 and line["loss"] == 3.0
    assert line["images_per_s"] == pytest.approx(5)
    assert line["step_s"] == pytest.approx(2)
    resident_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert 2**20 < line["host_memory_bytes"] <= resident_kib * 2**10
    assert line["data_wait_share"] == pytest.approx(0.375)
    assert "0:03:20 left" in caplog.text and "(38% waiting" in caplog.text


def test_a_report_of_the_first_step_alone_has_no_speed(tmp_path, clock, reporter):
    clock[0] += 40
    reporter.add(metrics(4.0), data_wait_s=30.0)
    reporter.report()
    (line,) = lines(tmp_path)
    assert line["loss"] == 4.0 and "images_per_s" not in line
    reporter.report()  # nothing new: nothing written
    assert len(lines(tmp_path)) == 1


def test_the_rate_beside_a_step_is_the_rate_of_that_step(
    tmp_path, clock, reporter, caplog
):
    for step in range(1, 6):
        clock[0] += 1
        rate = 10.0**-step
        figures = {"learning_rate": rate, "param_norm": 3.0 + step, "grad_norm": step}
        reporter.add(metrics(float(step), **figures), data_wait_s=0.0)
    with caplog.at_level("INFO"):
        reporter.report()
    (line,) = lines(tmp_path)
    assert (line["step"], line["loss"], line["grad_norm"]) == (5, 3.0, 3.0)
    assert line["learning_rate"] == pytest.approx(1e-5)
    assert line["param_norm"] == 8.0
    # 5 / 1.5 epochs are 3.33.
    assert "step 5/103  epoch 3.3  loss 3.0000  rate 1.00e-05" in caplog.text


@pytest.mark.parametrize("name", ["loss", "grad_norm", "param_norm"])
def test_what_is_not_finite_is_named_with_its_step(reporter, name):
    reporter.add(metrics(1.0), data_wait_s=0.0)
    bad = {"loss": 1.0, name: float("nan")}
    reporter.add(metrics(**bad), data_wait_s=0.0)
    message = r"diverged at step 2: .*learning rate 0\.5"
    with pytest.raises(progress.NonFiniteError, match=message):
        reporter.report()
