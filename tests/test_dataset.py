"""Opening built datasets, and the ways in which they can be broken."""

import json
import os
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from crawl_folders import build_dataset, make_crawl_folder

from mlgcn_jax.data import dataset


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    return build_dataset(make_crawl_folder(folder / "crawl"), folder / "data")


@pytest.fixture
def copied(built, tmp_path):
    """A version folder that a test may damage."""
    return shutil.copytree(built.directory, tmp_path / "tfds_pixiv" / "test" / "1.0.0")


def test_opens_from_every_folder_above(built):
    version = built.directory
    for folder in (version, *version.parents[:3]):
        assert dataset.open_dataset(folder).directory == version


def test_source_is_random_access(built):
    source = built.examples("train")
    assert len(source) == built.num_examples("train") > 10
    in_order = [(example["id"], example["page"]) for example in source]
    for index in reversed(range(len(source))):
        example = source[index]
        assert (example["id"], example["page"]) == in_order[index]
    for index in (-1, len(source)):
        with pytest.raises(IndexError):
            source[index]
    assert source[0]["image"].startswith(b"\xff\xd8")  # JPEG, not decoded


@pytest.mark.parametrize("split", ["train", "validation"])
def test_examples_are_what_tfds_reads(built, split):
    builder = tfds.builder_from_directory(built.directory)
    records = builder.as_data_source(
        split, decoders={"image": tfds.decode.SkipDecoding()}
    )
    for record, example in zip(records, built.examples(split), strict=True):
        assert example["image"] == record["image"]
        assert example["labels"].tolist() == list(record["labels"])
        assert example["labels"].dtype == np.int64
        assert example["tags"] == tuple(tag.decode() for tag in record["tags"])
        for name in ("id", "title", "user"):
            assert example[name] == record[name].decode()
        for name in ("page", "width", "height"):
            assert example[name] == record[name]


def test_unknown_split(built):
    with pytest.raises(ValueError, match="split 'test' is not one of"):
        built.examples("test")


def test_fingerprint_knows_the_content_not_the_place(built, copied):
    assert dataset.open_dataset(copied).fingerprint == built.fingerprint
    counts = copied / "label_counts.csv"
    counts.write_text(counts.read_text() + "extra,1,1\n")
    assert dataset.open_dataset(copied).fingerprint != built.fingerprint


def test_no_folder_and_no_dataset(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        dataset.open_dataset(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="holds no dataset"):
        dataset.open_dataset(tmp_path)


def test_several_datasets_are_listed(copied, tmp_path):
    other = shutil.copytree(copied, tmp_path / "tfds_pixiv" / "other" / "1.0.0")
    with pytest.raises(ValueError, match="holds 2 datasets") as caught:
        dataset.open_dataset(tmp_path)
    assert str(copied) in str(caught.value)
    assert str(other) in str(caught.value)
    # What a killed build leaves behind is no dataset.
    os.rename(other, other.with_name("incomplete.ABC123_1.0.0"))
    assert dataset.open_dataset(tmp_path).directory == copied


@pytest.mark.parametrize("name", dataset.DATASET_FILES)
def test_missing_side_file(copied, name):
    (copied / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"lacks {name}"):
        dataset.open_dataset(copied)


def test_other_file_format(copied):
    info = copied / "dataset_info.json"
    content = json.loads(info.read_text())
    info.write_text(json.dumps(content | {"fileFormat": "tfrecord"}))
    with pytest.raises(ValueError, match="file format tfrecord,"):
        dataset.open_dataset(copied)


def shard(folder, split="train"):
    (path,) = folder.glob(f"*-{split}.array_record-*")
    return path


def test_missing_shard(copied):
    shard(copied).unlink()
    with pytest.raises(FileNotFoundError, match=r"train\.array_record-\S+ is missing"):
        dataset.open_dataset(copied)


@pytest.mark.parametrize("kept_share", [0, 0.5, 0.99])
def test_truncated_shard(copied, kept_share):
    path = shard(copied)
    os.truncate(path, int(path.stat().st_size * kept_share))
    with pytest.raises(ValueError, match=r"train\.array_record-\S+ is damaged"):
        dataset.open_dataset(copied)


def test_shard_of_another_dataset(copied):
    shutil.copyfile(shard(copied, "validation"), shard(copied, "train"))
    with pytest.raises(ValueError, match=r"where dataset_info\.json says"):
        dataset.open_dataset(copied)


def test_flipped_bit_is_noticed_when_the_record_is_read(copied):
    path = shard(copied)
    content = bytearray(path.read_bytes())
    content[10_000] ^= 1  # the first records; the file is longer
    path.write_bytes(content)
    source = dataset.open_dataset(copied).examples("train")
    with pytest.raises(ValueError, match=r"example \d+ of train split .* damaged"):
        list(source)
    assert source[len(source) - 1]["image"].startswith(b"\xff\xd8")
