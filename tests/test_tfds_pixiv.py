"""The TFDS builder and `mlgcn build`, on small crawl folders."""

import collections
import io
import json
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from absl import app
from absl.testing import flagsaver
from built_datasets import examples, file_hashes, read_build, read_csv
from crawl_folders import (
    LABELS,
    add_picture,
    build_dataset,
    draw,
    make_crawl_folder,
)
from PIL import Image

from mlgcn_jax.commands import build
from mlgcn_jax.data import dataset, splits
from tfds_pixiv import tfds_pixiv_dataset_builder

BROKEN = b"\xff\xd8\xff\xe0 this is no JPEG"


@pytest.fixture
def crawl(tmp_path):
    return make_crawl_folder(tmp_path / "crawl")


# What is in the dataset


def test_every_picture_is_an_example_with_its_metadata(crawl, tmp_path):
    data = build_dataset(crawl, tmp_path / "data")
    found = {(example["id"], example["page"]): example for example in examples(data)}
    lines = (crawl / "metadata.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    assert len(found) == len(entries) == 24 + 6
    assert data.vocabulary.labels == LABELS  # the order of labels.csv
    for entry in entries:
        example = found[str(entry["id"]), entry["page"]]
        shape, colour, _ = entry["tags"]
        expected = {LABELS.index(shape), LABELS.index(colour.lower())}
        assert set(example["labels"].tolist()) == expected
        assert list(example["labels"]) == sorted(example["labels"])
        assert example["tags"] == tuple(entry["tags"])
        assert example["title"] == entry["title"]
        assert example["user"] == entry["user"]
        assert (example["width"], example["height"]) == (48, 64)


def test_split_is_by_work_and_stable(crawl, tmp_path):
    small = build_dataset(crawl, tmp_path / "small")
    larger_crawl = make_crawl_folder(tmp_path / "larger", num_works=40)
    larger = build_dataset(larger_crawl, tmp_path / "data")
    split_of = {}
    for split in ("train", "validation"):
        for example in larger.examples(split):
            # The pages of a work must agree.
            assert split_of.setdefault(example["id"], split) == split
            assert splits.split_of(example["id"]) == split
    for split in ("train", "validation"):
        for example in small.examples(split):
            assert split_of[example["id"]] == split


def test_side_files_count_what_the_records_hold(crawl, tmp_path):
    add_picture(
        crawl, draw("circle", "red", size=(48, 64), seed=99), id=1, tags=["sky"]
    )
    data = build_dataset(crawl, tmp_path / "data")
    for row in read_csv(data.directory / "label_counts.csv"):
        index = LABELS.index(row["label"])
        for split in ("train", "validation"):
            counted = sum(index in e["labels"] for e in data.examples(split))
            assert int(row[split]) == counted
    dropped = read_csv(data.directory / "dropped_tags.csv")
    # Works are counted, not pictures: 24 works in 30 pictures.
    expected = [{"tag": "drawing", "works": "24"}, {"tag": "sky", "works": "1"}]
    assert dropped == expected
    counts = read_build(data)["counts"]
    assert counts["train"] == data.num_examples("train")
    assert counts["validation"] == data.num_examples("validation")
    assert counts["train"] + counts["validation"] == 30
    assert counts["without_labels"] == 1


def test_two_builds_have_the_same_bytes(crawl, tmp_path):
    first = build_dataset(crawl, tmp_path / "first")
    moved = tmp_path / "moved" / "elsewhere"
    shutil.copytree(crawl, moved)
    second = build_dataset(moved, tmp_path / "second")
    hashes = file_hashes(first.directory)
    assert set(dataset.DATASET_FILES) < hashes.keys()
    assert hashes == file_hashes(second.directory)
    assert first.fingerprint == second.fingerprint


def test_archive_gives_the_bytes_of_its_folder(crawl, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "crawl"), "gztar", tmp_path, "crawl")
    folder = build_dataset(crawl, tmp_path / "first")
    unpacked = build_dataset(type(crawl)(archive), tmp_path / "second")
    assert file_hashes(folder.directory) == file_hashes(unpacked.directory)
    assert not list((tmp_path / "second").glob("unpacked.*"))


def test_many_shards_hold_the_same_examples(crawl, tmp_path, monkeypatch):
    whole = build_dataset(crawl, tmp_path / "whole")
    monkeypatch.setattr(tfds_pixiv_dataset_builder, "_PICTURES_PER_SHARD", 5)
    sharded = build_dataset(crawl, tmp_path / "sharded")
    train_shards = list(sharded.directory.glob("*-train.array_record-*"))
    assert len(train_shards) == -(-whole.num_examples("train") // 5) > 1
    for split in ("train", "validation"):
        one, many = whole.examples(split), sharded.examples(split)
        assert [e["image"] for e in one] == [e["image"] for e in many]


def test_shard_of_which_every_picture_is_rejected(crawl, tmp_path, monkeypatch):
    add_picture(crawl, BROKEN, id=7, tags=["circle"])
    monkeypatch.setattr(tfds_pixiv_dataset_builder, "_PICTURES_PER_SHARD", 1)
    data = build_dataset(crawl, tmp_path / "data")
    assert len(list(data.directory.glob("*.array_record-*"))) == 31
    assert len({(e["id"], e["page"]) for e in examples(data)}) == 30


def test_palette_picture_keeps_its_colours(crawl, tmp_path):
    rgb = np.zeros((40, 40, 3), np.uint8)
    rgb[:, :20] = (250, 120, 10)
    rgb[:, 20:] = (10, 60, 200)
    palette = Image.fromarray(rgb).quantize(8)
    assert palette.mode == "P"
    add_picture(crawl, palette, id=5, tags=["circle"])
    data = build_dataset(crawl, tmp_path / "data")
    (example,) = [example for example in examples(data) if example["id"] == "5"]
    decoded = Image.open(io.BytesIO(example["image"]))
    assert decoded.mode == "RGB"
    # Away from the edge between the colours JPEG is nearly exact.
    for x, colour in ((8, (250, 120, 10)), (32, (10, 60, 200))):
        assert np.abs(np.array(decoded.getpixel((x, 20))) - colour).max() <= 6


def test_large_pictures_are_shrunk_and_small_ones_kept(crawl, tmp_path):
    add_picture(
        crawl, draw("circle", "red", size=(300, 120), seed=0), id=5, tags=["red"]
    )
    data = build_dataset(crawl, tmp_path / "data", max_side_px=100)
    sizes = collections.Counter()
    for example in examples(data):
        sizes[Image.open(io.BytesIO(example["image"])).size] += 1
        if example["id"] == "5":
            assert (example["width"], example["height"]) == (300, 120)
    assert sizes == {(48, 64): 30, (100, 40): 1}


# TFDS


def test_tfds_opens_the_dataset_by_name_and_by_folder(crawl, tmp_path):
    data_dir = tmp_path / "data"
    builder = tfds.builder("tfds_pixiv/top40", data_dir=data_dir)
    assert isinstance(builder, tfds_pixiv_dataset_builder.Builder)
    # What `tfds build --config=top40 --manual_dir=FOLDER` runs.
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=crawl)
    )
    by_name = tfds.builder("tfds_pixiv/top40", data_dir=data_dir)
    by_folder = tfds.builder_from_directory(by_name.data_dir)
    names = list(dataset.open_dataset(data_dir).vocabulary.labels)
    for opened in (by_name, by_folder):
        assert opened.info.features["labels"].feature.names == names
        record = opened.as_data_source("train")[0]
        assert record["image"].shape == (64, 48, 3)
        assert opened.info.splits["train"].num_examples > 0


@pytest.mark.parametrize("file_format", ["parquet", "tfrecord"])
def test_other_file_formats_are_refused(crawl, tmp_path, file_format):
    config = tfds_pixiv_dataset_builder.PixivConfig(name="test", folder=crawl)
    builder = tfds_pixiv_dataset_builder.Builder(data_dir=tmp_path / "d", config=config)
    with pytest.raises(ValueError, match=f"file_format={file_format}"):
        builder.download_and_prepare(file_format=file_format)


def test_one_hundred_thousand_labels(crawl, tmp_path):
    names = [*(f"label {index}" for index in range(99_994)), *LABELS]
    rows = "".join(f"{name},\n" for name in names)
    (crawl / "labels.csv").write_text(f"label,aliases\n{rows}", encoding="utf-8")
    data = build_dataset(crawl, tmp_path / "data")
    assert len(data.vocabulary) == 100_000
    assert min(min(e["labels"]) for e in data.examples("train")) >= 99_994
    assert len(read_build(data)["labels_without_images"]) == 99_994


# `mlgcn build`


def run_build(*arguments, **flags):
    with flagsaver.flagsaver(**flags):
        build.main(["build", *map(str, arguments)])


def test_build_again_is_quick_and_refuses_another_source(crawl, tmp_path, capsys):
    data_dir = str(tmp_path / "data")
    run_build(crawl, data_dir=data_dir, top=3)
    first = capsys.readouterr().out
    directory = dataset.open_dataset(tmp_path / "data").directory
    assert directory.parts[-3:] == ("tfds_pixiv", "top3", "1.0.0")
    assert f"dataset: {directory}" in first
    assert "labels: 3" in first
    written = {path: path.stat().st_mtime_ns for path in directory.iterdir()}

    run_build(crawl, data_dir=data_dir, top=3)
    assert "already built" in capsys.readouterr().out
    assert written == {path: path.stat().st_mtime_ns for path in directory.iterdir()}

    image = draw("circle", "red", size=(48, 64), seed=77)
    add_picture(crawl, image, id=9, tags=["circle", "drawing"])
    with pytest.raises(ValueError, match=r"source_sha256.*--overwrite"):
        run_build(crawl, data_dir=data_dir, top=3)
    with pytest.raises(FileNotFoundError):
        run_build(tmp_path / "typo", data_dir=data_dir, top=3, overwrite=True)
    assert len(examples(dataset.open_dataset(tmp_path / "data"))) == 30
    run_build(crawl, data_dir=data_dir, top=3, overwrite=True)
    assert len(examples(dataset.open_dataset(tmp_path / "data"))) == 31


def test_overwrite_keeps_the_old_dataset_where_the_new_one_fails(crawl, tmp_path):
    data_dir = str(tmp_path / "data")
    run_build(crawl, data_dir=data_dir, top=3)
    before = len(examples(dataset.open_dataset(tmp_path / "data")))
    for index in range(20):
        add_picture(crawl, b"broken", id=index, tags=["circle", "red", "drawing"])
    with pytest.raises(ValueError, match="rejected"):
        run_build(crawl, data_dir=data_dir, top=3, overwrite=True)
    assert len(examples(dataset.open_dataset(tmp_path / "data"))) == before
    run_build(crawl, data_dir=data_dir, top=3, overwrite=True, max_reject_share=0.9)
    folder = dataset.open_dataset(tmp_path / "data").directory.parent
    assert [path.name for path in folder.iterdir() if path.is_dir()] == ["1.0.0"]


def test_pictures_are_stored_as_large_as_asked_for(crawl, tmp_path):
    picture = draw("circle", "red", size=(700, 350), seed=0)
    add_picture(crawl, picture, id=5, tags=["circle", "red"])
    data_dir = str(tmp_path / "data")

    def largest() -> int:
        found = examples(dataset.open_dataset(tmp_path / "data"))
        return max(Image.open(io.BytesIO(x["image"])).width for x in found)

    run_build(crawl, data_dir=data_dir, top=3)
    assert largest() == 512
    with pytest.raises(ValueError, match=r"or otherwise.*\(max_side_px differ\)"):
        run_build(crawl, data_dir=data_dir, top=3, max_side=600)
    run_build(crawl, data_dir=data_dir, top=3, max_side=600, overwrite=True)
    assert largest() == 600
    run_build(crawl, data_dir=data_dir, top=3, max_side=600)
    with pytest.raises(ValueError, match="max_side_px differ"):
        run_build(crawl, data_dir=data_dir, top=3)


def test_build_with_labels_file(crawl, tmp_path, capsys):
    vocabulary = tmp_path / "my colours.csv"
    vocabulary.write_text("label,aliases\nwarm,red\ncold,blue|green\n")
    run_build(crawl, data_dir=str(tmp_path / "data"), labels=str(vocabulary))
    data = dataset.open_dataset(tmp_path / "data")
    assert data.directory.parent.name == "my_colours"
    assert data.vocabulary.labels == ("warm", "cold")
    assert "drawing (24)" in capsys.readouterr().out
    vocabulary.write_text("label,aliases\nwarm,red|green\ncold,blue\n")
    with pytest.raises(ValueError, match="vocabulary_sha256 differ"):
        run_build(crawl, data_dir=str(tmp_path / "data"), labels=str(vocabulary))


def test_build_wrong_calls(crawl, tmp_path):
    data_dir = str(tmp_path / "data")
    with pytest.raises(app.UsageError, match="one folder"):
        run_build(crawl, crawl, data_dir=data_dir)
    with pytest.raises(app.UsageError, match="give one of"):
        run_build(crawl, data_dir=data_dir, top=2, min_works=3)
