"""Pictures that have tags but none of the labels: kept as negatives, or left out."""

import json
import logging

import configurations
import ml_collections
import numpy as np
import pytest
import sklearn.metrics
from absl.testing import flagsaver
from built_datasets import examples, read_build, read_csv
from crawl_folders import LABELS, add_picture, build_dataset, draw, make_crawl_folder

from mlgcn_jax.commands import build as build_command
from mlgcn_jax.data import dataset, splits
from mlgcn_jax.evaluation import evaluate, notes
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import run_folder, trained_model
from mlgcn_jax.training import train
from tfds_pixiv import build

# What a picture's tags say of labels that none of them is: nothing at all, or that it
# has none of them.
UNKNOWN = ([], ["1234", "1000users入り"], ["R-18", "オリジナル"], [" ", "#"])
NEGATIVE = (["sky"], ["R-18", "sky"], ["sky/sea"], ["nosuch circle"])
LABELLED = (["#CIRCLE"], ["sky", "#Red"], ["circle/red"])


def add(folder, tags_of_pictures, *, first_id=1):
    for id_, tags in enumerate(tags_of_pictures, start=first_id):
        image = draw("circle", "red", size=(48, 64), seed=10_000 + id_)
        add_picture(folder, image, id=id_, tags=list(tags))


@pytest.fixture
def crawl(tmp_path):
    """30 labelled pictures and some of each kind."""
    folder = make_crawl_folder(tmp_path / "crawl")
    add(folder, (*UNKNOWN, *NEGATIVE, *LABELLED))
    return folder


def ids_and_labels(data):
    return {(e["id"], e["page"]): tuple(e["labels"].tolist()) for e in examples(data)}


def test_kept_are_those_with_tags_and_none_of_the_labels(crawl, tmp_path):
    kept = build_dataset(crawl, tmp_path / "kept", negatives="keep")
    dropped = build_dataset(crawl, tmp_path / "dropped")
    found, without = ids_and_labels(kept), ids_and_labels(dropped)
    first = 1 + len(UNKNOWN)
    negatives = {(str(id_), 0): () for id_ in range(first, first + len(NEGATIVE))}
    assert all(without.values())
    assert len(without) == 30 + len(LABELLED)
    assert found == without | negatives
    for split in ("train", "validation"):
        assert {splits.split_of(e["id"]) for e in kept.examples(split)} == {split}
        # Negatives change no count of a label.
        np.testing.assert_array_equal(
            kept.label_counts(split), dropped.label_counts(split)
        )
        rows = read_csv(kept.directory / "label_counts.csv")
        assert [int(row[split]) for row in rows] == kept.label_counts(split).tolist()
    record, without_record = read_build(kept), read_build(dropped)
    assert (record["negatives"], without_record["negatives"]) == ("keep", "drop")
    expected = {"negatives": 4, "without_labels": 4, "without_tags": 4}
    assert expected.items() <= record["counts"].items()
    expected = {"negatives": 0, "without_labels": 8, "without_tags": 4}
    assert expected.items() <= without_record["counts"].items()


def test_implications_make_no_positive_of_a_negative(crawl, tmp_path):
    path = tmp_path / "implications.csv"
    path.write_text("label,implies\nred,circle\n")
    data = build_dataset(
        crawl, tmp_path / "data", negatives="keep", implications=str(path)
    )
    assert read_build(data)["counts"]["negatives"] == len(NEGATIVE)


def test_a_dataset_is_known_by_its_choice_also_one_of_before(crawl, tmp_path):
    data_dir = tmp_path / "data"
    built, is_new = build.build(crawl, data_dir)
    assert is_new
    # Datasets of before say nothing of negatives and counted no pictures without tags.
    path = built.directory / "build.json"
    record = json.loads(path.read_text())
    del record["negatives"], record["counts"]["negatives"]
    del record["counts"]["without_tags"]
    path.write_text(json.dumps(record))
    assert not build.build(crawl, data_dir)[1]
    with flagsaver.flagsaver(data_dir=str(data_dir)):
        build_command.main(["build", str(crawl)])
    with pytest.raises(ValueError, match=r"\(negatives differ\).*--overwrite"):
        build.build(crawl, data_dir, negatives="keep")
    assert build.build(crawl, data_dir, negatives="keep", overwrite=True)[1]
    assert not build.build(crawl, data_dir, negatives="keep")[1]
    with pytest.raises(ValueError, match=r"\(negatives differ\)"):
        build.build(crawl, data_dir)


def test_the_config_has_a_key_and_configs_of_before_mean_drop(crawl, tmp_path):
    keys = {"build__source": str(crawl), "build__negatives": "keep"}
    build.build_as_configured(configurations.tiny(tmp_path / "kept", **keys))
    assert read_build(dataset.open_dataset(tmp_path / "kept"))["negatives"] == "keep"
    before = {"source": str(crawl), "labels": "", "top": 0, "min_works": 0}
    config = ml_collections.ConfigDict({"build": {**before, "implications": ""}})
    config.data_dir = str(tmp_path / "dropped")
    build.build_as_configured(config)
    assert read_build(dataset.open_dataset(tmp_path / "dropped"))["negatives"] == "drop"
    keys["build__negatives"] = "true"
    with pytest.raises(ValueError, match="negatives='true' must be one of drop, keep"):
        build.build_as_configured(configurations.tiny(tmp_path / "x", **keys))


def test_negatives_alone_are_no_dataset(crawl, tmp_path):
    vocabulary = tmp_path / "labels.csv"
    vocabulary.write_text("label,aliases\nnever,\n")
    with pytest.raises(ValueError, match=r"none of the 41 pictures in .* 'drawing'"):
        build.build(crawl, tmp_path / "a", labels=str(vocabulary), negatives="keep")
    # A label of one work: the other split would hold negatives alone.
    vocabulary.write_text("label,aliases\nsky,\n")
    (crawl / "metadata.jsonl").write_text("")
    add(crawl, [["sky"], *[["sea"]] * 11])
    with pytest.raises(ValueError, match="split is empty: all 1 labelled pictures"):
        build.build(crawl, tmp_path / "b", labels=str(vocabulary), negatives="keep")


def test_a_split_whose_labelled_pictures_are_all_broken(crawl, tmp_path):
    for path in (crawl / "images").iterdir():
        id_ = path.name.split("_")[0]
        negative = len(UNKNOWN) < int(id_) <= len(UNKNOWN) + len(NEGATIVE)
        if splits.split_of(id_) == "validation" and not negative:
            path.write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"validation split is empty.*rejected"):
        build_dataset(crawl, tmp_path / "data", negatives="keep", max_reject_share=1)


def build_with(crawl, vocabulary, capsys, **flags):
    path = crawl.parent / "mine.csv"
    path.write_text("label,aliases\n" + "".join(f"{name},\n" for name in vocabulary))
    data_dir = crawl.parent / "-".join((*vocabulary, *flags.values()))
    with flagsaver.flagsaver(data_dir=str(data_dir), labels=str(path), **flags):
        build_command.main(["build", str(crawl)])
    lines = capsys.readouterr().out.splitlines()
    return data_dir, [line for line in lines if line.startswith("note: ")]


def test_build_says_that_a_score_means_nothing_and_names_the_flag(crawl, capsys):
    for vocabulary in (["circle"], ["drawing"]):
        data_dir, [note] = build_with(crawl, vocabulary, capsys)
        assert "every picture of the train and the validation split" in note
        assert f"has the label {vocabulary[0]};" in note
        assert "mAP, CF1 and OF1 mean nothing" in note
        assert "--negatives=keep" in note and "config.build.negatives" in note
    # The same of a dataset that is there.
    with flagsaver.flagsaver(
        data_dir=str(data_dir), labels=str(crawl.parent / "mine.csv")
    ):
        build_command.main(["build", str(crawl)])
    assert note in capsys.readouterr().out
    # Two labels that are always together, and one of two labels.
    (crawl / "metadata.jsonl").write_text("")
    add(crawl, [["sky", "blue"]] * 12)
    _, [note] = build_with(crawl, ["sky", "blue"], capsys)
    assert "has 2 labels: sky, blue;" in note and "OF1 mean nothing" in note
    # The ids must go on, or the pictures would be the same works.
    add(crawl, [["sky", "cloud"]] * 12, first_id=100)
    _, [note] = build_with(crawl, ["sky", "cloud"], capsys)
    assert "has the label sky;" in note and "its part of mAP" in note


def test_negatives_make_the_note_go(crawl, capsys):
    data_dir, found = build_with(crawl, ["circle"], capsys, negatives="keep")
    assert found == []
    shares = {
        split: dataset.open_dataset(data_dir).label_counts(split)[0]
        for split in ("train", "validation")
    }
    assert all(shares.values())


def test_a_run_with_a_label_on_every_picture_and_one_on_none(crawl, capsys, caplog):
    """Build, train, evaluate: nothing fails, and all that means nothing is told."""
    (crawl / "metadata.jsonl").write_text("")
    rng = np.random.default_rng(0)
    tags = [["drawing", *rng.permutation(LABELS)[: rng.integers(3)]] for _ in range(60)]
    add(crawl, [[str(tag) for tag in one] for one in tags])
    add(crawl, [["sky"], []], first_id=100)
    vocabulary = ["drawing", "circle", "red", "never"]
    data_dir, [note] = build_with(crawl, vocabulary, capsys, negatives="keep")
    assert "has the label drawing;" in note
    config = configurations.tiny(data_dir, num_epochs=1)
    workdir = crawl.parent / "run"
    with caplog.at_level(logging.WARNING):
        assert train.train_and_evaluate(config, workdir) is None
    assert note.removeprefix("note: ") in caplog.text

    mesh = meshes.create_mesh()
    model = trained_model.open_run(workdir, mesh)
    data = dataset.open_dataset(data_dir)
    results, per_label = evaluate.evaluate_run(model, data, mesh, split="validation")
    folder = run_folder.RunFolder(workdir)
    assert json.loads(folder.metrics.read_text()) == results
    written = np.load(folder.predictions)
    scores, truth = written["scores"], written["labels"]
    negatives = sum(not e["labels"].size for e in data.examples("validation"))
    assert results["examples_without_labels"] == negatives
    assert results["labels_in_nearly_all_examples"] == ["drawing"]
    assert results["labels_without_positives"] == 1
    kept = truth.any(axis=0)
    assert results["mAP"] == pytest.approx(
        sklearn.metrics.average_precision_score(
            truth[:, kept], scores[:, kept], average="macro"
        )
    )
    expected = sklearn.metrics.f1_score(
        truth, scores >= 0.5, average=None, zero_division=0
    )
    np.testing.assert_allclose(per_label["f1"], expected)
    text = notes.format_notes({"run": results, "again": results})
    first, second = text.splitlines()  # each is said once
    assert "every picture of the validation split has the label drawing;" in first
    assert second.startswith("note: labels on no picture of the validation split: 1 of")
