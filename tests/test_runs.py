"""Whole runs of a tiny model: train, stop, go on, evaluate, predict."""

import json
import math
import pathlib
import shlex
import subprocess
import sys

import configurations
import crawl_folders
import jax
import numpy as np
import pytest
from run_logs import TINY_CONFIG, curves, final_state, restored_state

from mlgcn_jax.data import dataset
from mlgcn_jax.evaluation import evaluate, metrics
from mlgcn_jax.runs import checkpoints, run_folder, trained_model
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.serving import predict, samples
from mlgcn_jax.training import progress, train


@pytest.fixture(scope="module")
def run(data_dir, tmp_path_factory) -> pathlib.Path:
    """A finished run."""
    workdir = tmp_path_factory.mktemp("run")
    config = configurations.tiny(
        data_dir, num_epochs=6, optimizer__learning_rate=0.01, keep_checkpoints=1
    )
    assert train.train_and_evaluate(config, workdir) is None
    return workdir


def test_a_run_learns_and_logs_every_step(run, data_dir):
    losses = [line["loss"] for line in curves(run) if "loss" in line]
    # Six passes; the last batch goes on into a seventh.
    num_examples = dataset.open_dataset(data_dir).num_examples("train")
    assert num_examples % 8
    assert len(losses) == math.ceil(6 * num_examples / 8)
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    validations = [line for line in curves(run) if "validation/mAP" in line]
    assert len(validations) == 6


def open_model(workdir):
    return trained_model.open_run(workdir, meshes.create_mesh())


def test_every_example_is_evaluated_once(run, data_dir):
    """The split is no multiple of the batch of eight devices."""
    data = dataset.open_dataset(data_dir)
    mesh = meshes.create_mesh()
    results, _ = evaluate.evaluate_run(open_model(run), data, mesh, split="validation")
    folder = run_folder.RunFolder(run)
    written = np.load(folder.predictions)
    source = data.examples("validation")
    assert len(source) % 8
    assert results["num_examples"] == len(source) == len(written["id"])
    keys = sorted(zip(written["id"], written["page"], strict=True))
    assert keys == sorted((e["id"], e["page"]) for e in source)
    for labels, example in zip(written["labels"], source, strict=True):
        np.testing.assert_array_equal(np.flatnonzero(labels), example["labels"])
    again = metrics.compute_metrics(written["scores"], written["labels"])
    on_disk = json.loads(folder.metrics.read_text())
    assert on_disk == {
        "split": "validation",
        "step": results["step"],
        "dataset_fingerprint": data.fingerprint,
        **again,
        "examples_without_labels": 0,
        "labels_in_nearly_all_examples": [],
    }
    rows = folder.per_label.read_text().splitlines()
    assert len(rows) == 1 + len(crawl_folders.LABELS)


def test_predicted_scores_are_the_evaluated_ones(run, data_dir):
    data = dataset.open_dataset(data_dir)
    mesh = meshes.create_mesh()
    evaluate.evaluate_run(open_model(run), data, mesh, split="validation")
    written = np.load(run_folder.RunFolder(run).predictions)
    crawl = data_dir.parent / "crawl"
    paths = [crawl_folders.picture_of(crawl, x) for x in data.examples("validation")]
    predictions = list(predict.predict(open_model(run), paths, mesh))
    scores = np.stack([p.scores for p in predictions])
    # The batches have other sizes, so sums may be taken in another order.
    np.testing.assert_allclose(scores, written["scores"], rtol=1e-4, atol=1e-6)


def test_a_broken_picture_is_reported_and_the_rest_go_on(run, data_dir, tmp_path):
    good = dataset.open_dataset(data_dir).examples("validation")[0]["image"]
    (tmp_path / "a.jpg").write_bytes(good)
    (tmp_path / "b.jpg").write_bytes(good[: len(good) // 2])
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "d.JPG").write_bytes(good)
    (tmp_path / "notes.txt").write_text("no picture")
    paths = predict.find_pictures([str(tmp_path), str(tmp_path / "*")])
    assert [p.name for p in paths] == ["a.jpg", "b.jpg", "d.JPG"]
    first, broken, last = predict.predict(open_model(run), paths, meshes.create_mesh())
    assert broken.scores is None and broken.error
    assert first.error is None and last.error is None
    # Whatever a picture's company, its scores are the same.
    np.testing.assert_array_equal(first.scores, last.scores)
    (alone,) = predict.predict(
        open_model(run), [tmp_path / "a.jpg"], meshes.create_mesh()
    )
    np.testing.assert_array_equal(first.scores, alone.scores)


def test_a_name_that_matches_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\*\.png holds no picture"):
        predict.find_pictures([str(tmp_path / "none*.png")])


def test_samples_are_drawn(run, data_dir):
    data = dataset.open_dataset(data_dir)
    sheet, predictions = samples.tag_held_out_pictures(
        open_model(run), data, meshes.create_mesh(), count=5
    )
    assert len(predictions) == 5 and sheet.stat().st_size > 1000
    assert [p.path.name for p in predictions] == [f"0{i}.jpg" for i in range(5)]
    mesh = meshes.create_mesh()
    evaluate.evaluate_run(open_model(run), data, mesh, split="validation")
    written = np.load(run_folder.RunFolder(run).predictions)["scores"]
    scores = np.stack([p.scores for p in predictions])
    np.testing.assert_allclose(scores, written[:5], rtol=1e-4, atol=1e-6)


def test_the_run_of_other_labels_is_an_error(run, tmp_path):
    crawl = crawl_folders.make_crawl_folder(tmp_path / "crawl")
    other = crawl_folders.build_dataset(crawl, tmp_path / "built", num_labels=3)
    with pytest.raises(ValueError, match="other labels than the run"):
        evaluate.evaluate_run(
            open_model(run), other, meshes.create_mesh(), split="validation"
        )


def test_a_run_that_failed_before_its_first_checkpoint_binds_nothing(
    data_dir, tmp_path
):
    with pytest.raises(ValueError, match=r"at least 5 px: set config\.image_size"):
        train.train_and_evaluate(configurations.tiny(data_dir, image_size=4), tmp_path)
    config = configurations.tiny(data_dir, num_epochs=1)
    assert train.train_and_evaluate(config, tmp_path) is None
    # From here on it is this config's.
    other = configurations.tiny(data_dir, num_epochs=2)
    with pytest.raises(ValueError, match="num_epochs: 1 -> 2"):
        train.train_and_evaluate(other, tmp_path)


@pytest.mark.parametrize("rate", [1e30, 1e12])
def test_a_run_that_diverges_stops_and_saves_nothing_of_it(data_dir, tmp_path, rate):
    """At 1e30 the first update is beyond float32's squares, at 1e12 later ones."""
    config = configurations.tiny(
        data_dir, optimizer__learning_rate=rate, num_epochs=100
    )
    message = r"diverged at step \d+: the loss is .*learning rate 1e\+"
    with pytest.raises(progress.NonFiniteError, match=message):
        train.train_and_evaluate(config, tmp_path)
    folder = run_folder.RunFolder(tmp_path)
    for step in checkpoints.saved_steps(folder.checkpoints):
        state = restored_state(config, folder.checkpoints, step)
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(state))


def test_a_checkpoint_is_the_state_of_its_step_though_training_went_on(
    data_dir, tmp_path
):
    """The buffers that it is written from are given to the next step."""
    for name, num_epochs in (("long", 4), ("short", 1)):
        config = configurations.tiny(
            data_dir, num_epochs=num_epochs, keep_checkpoints=5
        )
        assert train.train_and_evaluate(config, tmp_path / name) is None
    (step,) = checkpoints.saved_steps(tmp_path / "short" / "checkpoints")
    short = restored_state(config, tmp_path / "short" / "checkpoints", step)
    long = restored_state(config, tmp_path / "long" / "checkpoints", step)
    jax.tree.map(np.testing.assert_array_equal, long, short)


def test_a_run_that_keeps_an_average_is_used_by_it(data_dir, tmp_path):
    config = configurations.tiny(data_dir, optimizer__ema_decay=0.99)
    assert train.train_and_evaluate(config, tmp_path) is None
    state = final_state(tmp_path)
    assert state.ema is not None
    jax.tree.map(
        np.testing.assert_array_equal, open_model(tmp_path).variables, state.ema
    )
    kernel = state.variables.params["head"]["gc1"]["kernel"]
    assert not np.allclose(kernel, state.ema.params["head"]["gc1"]["kernel"])


def test_a_validation_that_a_kill_prevented_is_made_up_for(data_dir, tmp_path):
    config = configurations.tiny(data_dir, evaluate_every_epochs=1)
    assert train.train_and_evaluate(config, tmp_path) is None
    log = run_folder.RunFolder(tmp_path).metrics_log
    whole = log.read_text()
    lines = whole.splitlines(keepends=True)
    assert "validation" in lines[-1]
    log.write_text("".join(lines[:-1]))
    assert train.train_and_evaluate(config, tmp_path) is None
    assert log.read_text() == whole
    assert train.train_and_evaluate(config, tmp_path) is None  # and only once
    assert log.read_text() == whole


def test_metrics_are_read_back_where_they_are_of_the_same(run, data_dir, tmp_path):
    data = dataset.open_dataset(data_dir)
    model = open_model(run)
    folder, step = model.folder, model.step
    results, _ = evaluate.evaluate_run(
        model, data, meshes.create_mesh(), split="validation"
    )

    def read(data=data, split="validation", step=step):
        return evaluate.read_metrics(folder, data, split=split, step=step)

    assert read() == results
    assert read(step=step - 1) is None
    assert read(split="train") is None
    crawl = crawl_folders.make_crawl_folder(tmp_path / "crawl")
    assert read(data=crawl_folders.build_dataset(crawl, tmp_path / "built")) is None
    folder.metrics.write_text("{")
    assert read() is None
    folder.metrics.unlink()
    assert read() is None


def test_another_dataset_of_the_same_labels_is_evaluated_with_a_warning(
    run, tmp_path, caplog
):
    crawl = crawl_folders.make_crawl_folder(tmp_path / "crawl", num_works=30)
    other = crawl_folders.build_dataset(crawl, tmp_path / "built")
    with caplog.at_level("WARNING"):
        results, _ = evaluate.evaluate_run(
            open_model(run), other, meshes.create_mesh(), split="validation"
        )
    assert "another dataset than the run was trained on" in caplog.text
    assert results["dataset_fingerprint"] == other.fingerprint


def test_a_full_disk_is_the_last_line_that_one_reads(data_dir, tmp_path):
    """The kernel refuses to let files grow past a limit, as a full disk would."""
    command = [
        sys.executable,
        "-m",
        "mlgcn_jax.cli",
        "train",
        f"--config={TINY_CONFIG}",
        f"--config.data_dir={data_dir}",
        f"--workdir={tmp_path}",
    ]
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 9; exec {shlex.join(command)}"],  # of 1,024 bytes
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    *_, last = done.stderr.splitlines()
    assert last.startswith("mlgcn train: error: saving step ")
    assert "MB free there" in last


def test_a_run_of_before_epochs_were_passes_ends_where_it_would_have(
    data_dir, tmp_path
):
    """Its epochs were whole batches: the run folder says no number of examples."""
    config = configurations.tiny(data_dir, num_epochs=1)
    assert train.train_and_evaluate(config, tmp_path) is None
    folder = run_folder.RunFolder(tmp_path)
    # As a run of two epochs that was killed at the end of the first.
    for path, change in (
        (folder.dataset, lambda content: content.pop("examples_per_epoch")),
        (folder.config, lambda content: content.update(num_epochs=2)),
    ):
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
    config.num_epochs = 2
    assert train.train_and_evaluate(config, tmp_path) is None
    num_examples = dataset.open_dataset(data_dir).num_examples("train")
    assert num_examples % 8
    assert curves(tmp_path)[-1]["step"] == 2 * (num_examples // 8)
