"""Options of a config that do not go together: refused, or said in a line."""

import pathlib

import configurations
import crawl_folders
import pytest

from mlgcn_jax.data import dataset
from mlgcn_jax.runs import checkpoints
from mlgcn_jax.training import promises, train


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"optimizer__warmup_epochs": 2.0},
            r"warmup_epochs=2\.0 has no effect with .*use schedule='warmup_cosine'",
        ),
        (
            {"graph__embedding_file": "glove.txt"},
            r"glove\.txt is not read with config\.graph\.embedding='cooccurrence'",
        ),
        ({"keep_every_epochs": 3}, "keeps nothing of a run of 2 epochs"),
        (
            {
                "optimizer__head_learning_rate_factor": 0.0,
                "optimizer__frozen_backbone_epochs": 2.0,
            },
            "nothing would learn",
        ),
        (
            {
                "optimizer__head_learning_rate_factor": 0.0,
                "optimizer__backbone_learning_rate_factor": 0.0,
            },
            "nothing would learn",
        ),
    ],
)
def test_what_cannot_be_kept_is_refused(overrides, message):
    with pytest.raises(ValueError, match=message):
        promises.check(configurations.tiny(**overrides))


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"optimizer__schedule": "warmup_cosine", "optimizer__warmup_epochs": 2.0},
        {"optimizer__warmup_epochs": 0.0},
        {"graph__embedding": "file", "graph__embedding_file": "glove.txt"},
        {"keep_every_epochs": 2},
        {"optimizer__frozen_backbone_epochs": 2.0},
        {"num_epochs": 0, "keep_every_epochs": 3},
    ],
)
def test_what_can_be_kept_is_not(overrides):
    promises.check(configurations.tiny(**overrides))


@pytest.fixture(scope="module")
def data(data_dir) -> dataset.Dataset:
    return dataset.open_dataset(data_dir)


def told(caplog, data: dataset.Dataset, **overrides) -> list[str]:
    with caplog.at_level("WARNING"):
        promises.tell(configurations.tiny(**overrides), data)
    return [record.getMessage() for record in caplog.records]


def test_nothing_is_told_of_a_usual_config(caplog, data):
    assert told(caplog, data, batch_size=data.num_examples("train") // 2) == []


def test_a_batch_of_more_than_half_the_split_is_told(caplog, data):
    num_examples = data.num_examples("train")
    (line,) = told(caplog, data, batch_size=num_examples // 2 + 1)
    assert f"more than half of the {num_examples} training images" in line
    assert f"an epoch is {num_examples / (num_examples // 2 + 1):.2f} steps" in line


def test_a_backbone_that_never_learns_is_told(caplog, data):
    (line,) = told(caplog, data, optimizer__frozen_backbone_epochs=2.0)
    assert "frozen_backbone_epochs=2 of 2 epochs" in line
    caplog.clear()
    assert told(caplog, data, optimizer__frozen_backbone_epochs=1.0) == []


def test_pictures_stored_smaller_than_they_are_trained_are_told(
    caplog, data, tmp_path: pathlib.Path
):
    assert told(caplog, data, image_size=512) == []
    (line,) = told(caplog, data, image_size=513)
    assert "image_size=513 is more than the 512 px" in line and "--max_side=513" in line
    crawl = crawl_folders.make_crawl_folder(tmp_path / "crawl", num_works=12)
    small = crawl_folders.build_dataset(crawl, tmp_path / "built", max_side_px=32)
    caplog.clear()
    (line,) = told(caplog, small, batch_size=2, image_size=48)
    assert "image_size=48 is more than the 32 px" in line


def test_a_best_that_no_validation_can_tell_is_told(caplog, data, monkeypatch):
    assert told(caplog, data, keep_best_checkpoint=True) == []
    counts = {
        "train": data.label_counts("train"),
        "validation": 0 * data.label_counts("validation"),
    }
    monkeypatch.setattr(data, "label_counts", counts.__getitem__)
    (line,) = told(caplog, data, keep_best_checkpoint=True)
    assert "no validation image has a label" in line
    caplog.clear()
    assert told(caplog, data) == []


def test_a_run_that_has_begun_is_not_refused_for_what_a_new_one_is(data_dir, tmp_path):
    """Of runs of before that was told, say."""
    config = configurations.tiny(data_dir, num_epochs=1)
    assert train.train_and_evaluate(config, tmp_path) is None
    config.keep_every_epochs = 9  # may change
    assert train.train_and_evaluate(config, tmp_path) is None
    steps = checkpoints.saved_steps(tmp_path / "checkpoints")
    with pytest.raises(ValueError, match="keep_every_epochs=9 keeps nothing"):
        train.train_and_evaluate(config, tmp_path / "new")
    assert len(steps) == 1
