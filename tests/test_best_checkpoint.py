"""config.keep_best_checkpoint: what it promises holds, whatever else happens."""

import os
import resource
import signal
import time

import configurations
import pytest
from run_logs import curves

from mlgcn_jax.evaluation import metrics, scoring
from mlgcn_jax.runs import checkpoints, run_status, trained_model
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.training import train


@pytest.fixture
def maps(monkeypatch) -> list[float]:
    """Sets what the coming validations find, one after another."""
    values: list[float] = []
    compute = metrics.compute_metrics

    def compute_and_replace(scores, labels):
        return {**compute(scores, labels), "mAP": values.pop(0)}

    monkeypatch.setattr(metrics, "compute_metrics", compute_and_replace)
    return values


def test_the_best_is_saved_when_it_is_found_whatever_the_intervals(
    data_dir, tmp_path, maps
):
    """Validated after each of nine epochs, saved after the seventh and the last."""
    maps[:] = [0.1, 0.2, 0.2, 0.7, 0.5, 0.6, 0.7, 0.3, 0.4]
    config = configurations.tiny(
        data_dir,
        num_epochs=9,
        checkpoint_every_epochs=7,
        keep_checkpoints=1,
        keep_best_checkpoint=True,
    )
    assert train.train_and_evaluate(config, tmp_path) is None
    steps = [line["step"] for line in curves(tmp_path) if "validation/mAP" in line]
    saved = checkpoints.saved_steps(tmp_path / "checkpoints")
    assert saved == [steps[8], steps[3]]
    status = run_status.read(tmp_path)
    assert status["best_validation"] == {"step": steps[3], "mAP": 0.7}
    assert status["best_kept_validation"] == status["best_validation"]


def test_the_best_of_before_a_stop_stays_the_best(
    data_dir, tmp_path, maps, monkeypatch
):
    maps[:] = [0.7, 0.6, 0.5, 0.6, 0.8]
    config = configurations.tiny(
        data_dir, keep_checkpoints=1, keep_best_checkpoint=True, num_epochs=5
    )
    score = scoring.Scorer.__call__

    def score_and_be_stopped(self, image):
        if len(maps) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return score(self, image)

    folder = tmp_path / "checkpoints"
    with monkeypatch.context() as patched:
        patched.setattr(scoring.Scorer, "__call__", score_and_be_stopped)
        assert train.train_and_evaluate(config, tmp_path) == signal.SIGTERM
    third, first = checkpoints.saved_steps(folder)
    maps[:] = [0.5, 0.6, 0.4]
    assert train.train_and_evaluate(config, tmp_path) is None
    fifth, best = checkpoints.saved_steps(folder)
    assert best == first < third < fifth
    assert run_status.read(tmp_path)["best_kept_validation"]["step"] == first


# Of orbax's threads, which go on writing when it has given up.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_best_checkpoint_on_a_full_disk_costs_no_older_one(
    data_dir, tmp_path, maps, monkeypatch
):
    """The kernel lets no file grow any more when the third validation is the best."""
    maps[:] = [0.5, 0.4, 0.6]
    config = configurations.tiny(
        data_dir,
        num_epochs=4,
        log_every_steps=100,
        checkpoint_every_epochs=2,
        keep_checkpoints=1,
        keep_best_checkpoint=True,
    )
    folder = tmp_path / "checkpoints"
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    compute = metrics.compute_metrics  # with what is in `maps`

    def compute_and_fill_the_disk(scores, labels):
        if len(maps) == 1:
            while len(checkpoints.saved_steps(folder)) < 2:  # in the background
                time.sleep(0.01)
            resource.setrlimit(resource.RLIMIT_FSIZE, (9 * 1024, limit[1]))
        return compute(scores, labels)

    with monkeypatch.context() as patched:
        patched.setattr(metrics, "compute_metrics", compute_and_fill_the_disk)
        try:
            with pytest.raises(checkpoints.CheckpointError, match="saved before it"):
                train.train_and_evaluate(config, tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    second, first = checkpoints.saved_steps(folder)
    for step in (first, second):
        checkpoints.check_step(folder, step)
    # With room again the same command finds the best anew, and saves it.
    maps[:] = [0.6, 0.3]
    assert train.train_and_evaluate(config, tmp_path) is None
    last, best = checkpoints.saved_steps(folder)
    assert first < second < best < last


def test_a_best_that_was_not_kept_is_said(data_dir, tmp_path, maps, caplog):
    maps[:] = [0.9, 0.5]
    config = configurations.tiny(data_dir, keep_checkpoints=1)
    assert train.train_and_evaluate(config, tmp_path) is None
    config.keep_best_checkpoint = True
    assert "not kept" not in caplog.text
    with caplog.at_level("WARNING"):
        assert train.train_and_evaluate(config, tmp_path) is None
    first = next(line["step"] for line in curves(tmp_path) if "validation/mAP" in line)
    assert f"best validation mAP so far, of step {first}, was not kept" in caplog.text


@pytest.mark.parametrize(("best", "more"), [(5, {5}), (8, set())])
def test_the_best_checkpoint_and_every_third_epoch_stay(
    data_dir, tmp_path, maps, best, more
):
    """The last one is saved before it is found to be the best."""
    maps[:] = [0.1, 0.2, 0.3, 0.4, 0.7, 0.5, 0.6, 0.4]
    maps[best - 1] = 0.8
    config = configurations.tiny(
        data_dir,
        num_epochs=8,
        keep_checkpoints=1,
        keep_best_checkpoint=True,
        keep_every_epochs=3,
    )
    assert train.train_and_evaluate(config, tmp_path) is None
    steps = [line["step"] for line in curves(tmp_path) if "validation/mAP" in line]
    kept = checkpoints.saved_steps(tmp_path / "checkpoints")
    assert kept == [steps[epoch - 1] for epoch in sorted({3, 6, 8} | more)[::-1]]
    model = trained_model.open_run(tmp_path, meshes.create_mesh(), step=steps[best - 1])
    assert model.step == steps[best - 1]
    with pytest.raises(
        checkpoints.CheckpointError, match=f"no checkpoint of step {steps[0]}"
    ):
        trained_model.open_run(tmp_path, meshes.create_mesh(), step=steps[0])
