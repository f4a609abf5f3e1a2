"""The TFDS builder on crawl folders with faults, and with settings that are wrong."""

import json
import shutil

import pytest
from built_datasets import examples, read_build
from crawl_folders import (
    add_picture,
    build_dataset,
    draw,
    make_crawl_folder,
)

from mlgcn_jax.data import images, splits
from tfds_pixiv import encoding, tfds_pixiv_dataset_builder

BROKEN = b"\xff\xd8\xff\xe0 this is no JPEG"


@pytest.fixture
def crawl(tmp_path):
    return make_crawl_folder(tmp_path / "crawl")


def test_rejects_are_listed_up_to_the_share(crawl, tmp_path):
    add_picture(crawl, BROKEN, id=7, tags=["circle"])
    with (crawl / "metadata.jsonl").open("a") as metadata:
        metadata.write("{not json\n")
    data = build_dataset(crawl, tmp_path / "data", max_reject_share=2 / 32)
    lines = (data.directory / "rejects.jsonl").read_text().splitlines()
    rejects = [json.loads(line) for line in lines]
    assert len(rejects) == 2 == read_build(data)["counts"]["rejects"]
    (broken,) = [reject for reject in rejects if reject["id"] == "7"]
    assert broken["page"] == 0
    assert broken["reason"]
    assert str(tmp_path) not in broken["reason"]
    assert len(examples(data)) == 30


def test_a_picture_too_long_to_be_read_again_is_rejected(crawl, tmp_path):
    long = draw("circle", "red", size=(8, 600), seed=0)
    add_picture(crawl, long, id=7, tags=["circle"])
    data = build_dataset(crawl, tmp_path / "data", max_reject_share=0.5)
    (line,) = (data.directory / "rejects.jsonl").read_text().splitlines()
    assert "too long: 8 x 600" in json.loads(line)["reason"]
    for example in examples(data):
        images.load_rgb(example["image"])


def test_too_many_rejects_fail_and_leave_only_the_list(crawl, tmp_path):
    add_picture(crawl, BROKEN, id=7, tags=["circle"])
    data_dir = tmp_path / "data"
    with pytest.raises(ValueError, match="1 of 31 pictures are rejected") as caught:
        build_dataset(crawl, data_dir, max_reject_share=0.03)  # 1/31 = 0.032
    (list_file,) = data_dir.rglob("rejects.jsonl")
    assert str(list_file) in str(caught.value)
    assert json.loads(list_file.read_text())["id"] == "7"
    assert not list(data_dir.rglob("*.array_record*"))
    assert not list(data_dir.rglob("*incomplete*"))
    # Once mended, the stale list goes.
    build_dataset(crawl, data_dir, max_reject_share=0.04)
    assert not list_file.exists()


def test_build_stops_as_soon_as_the_share_is_lost(crawl, tmp_path, monkeypatch):
    for index in range(40):
        add_picture(crawl, BROKEN, id=5000 + index, tags=["circle"])
    encoded = []

    def encode_one_at_a_time(pictures, *, max_side_px):
        for picture in pictures:
            encoded.append(picture)
            yield encoding._encode(picture, max_side_px)

    monkeypatch.setattr(encoding, "encode_pictures", encode_one_at_a_time)
    with pytest.raises(ValueError, match="4 of 70 pictures are rejected"):
        build_dataset(crawl, tmp_path / "data")
    assert len(encoded) < 40


def test_split_of_which_every_picture_is_rejected(crawl, tmp_path):
    for path in (crawl / "images").iterdir():
        if splits.split_of(path.name.split("_")[0]) == "validation":
            path.write_bytes(BROKEN)
    with pytest.raises(ValueError, match=r"validation split is empty.*rejected"):
        build_dataset(crawl, tmp_path / "data", max_reject_share=1)


def test_interrupted_build_leaves_nothing(crawl, tmp_path, monkeypatch):
    encode_pictures = encoding.encode_pictures

    def interrupted(pictures, *, max_side_px):
        encoded = encode_pictures(pictures, max_side_px=max_side_px)
        yield next(encoded)
        raise KeyboardInterrupt

    monkeypatch.setattr(encoding, "encode_pictures", interrupted)
    archive = shutil.make_archive(str(tmp_path / "crawl"), "tar", crawl)
    with pytest.raises(KeyboardInterrupt):
        build_dataset(type(crawl)(archive), tmp_path / "data")
    left = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert [path.parent.name for path in left] == [".config"]


# Vocabularies


def test_top_n_and_min_works(crawl, tmp_path):
    # Of 24 works all are drawings, 8 have each shape, 9 are red, 9 green and 6 blue.
    top = build_dataset(crawl, tmp_path / "top", num_labels=1)
    assert top.vocabulary.labels == ("drawing",)
    common = build_dataset(crawl, tmp_path / "common", min_works=9)
    assert common.vocabulary.labels == ("drawing", "green", "red")


def test_labels_without_pictures_or_in_one_split_are_told(crawl, tmp_path, caplog):
    train_id = next(i for i in range(100) if splits.split_of(str(i)) == "train")
    image = draw("circle", "red", size=(48, 64), seed=1)
    add_picture(crawl, image, id=train_id, tags=["circle", "rare"])
    with (crawl / "labels.csv").open("a") as file:
        file.write("rare,\nnever,\n")
    data = build_dataset(crawl, tmp_path / "data")
    content = read_build(data)
    assert content["labels_without_images"] == ["never"]
    assert content["labels_in_one_split"] == ["rare"]
    assert "1 labels have no image: never" in caplog.text
    assert "1 labels have images in one split only: rare" in caplog.text


def test_no_label_found_names_both_sides(crawl, tmp_path):
    (crawl / "labels.csv").write_text("label,aliases\nspaceship,\n")
    with pytest.raises(ValueError, match=r"no label found.*'spaceship'.*'drawing'"):
        build_dataset(crawl, tmp_path / "data")


def test_no_usable_picture(crawl, tmp_path):
    shutil.rmtree(crawl / "images")
    with pytest.raises(ValueError, match=r"none of the 30 entries .*_p0\.png: "):
        build_dataset(crawl, tmp_path / "data")


def test_one_work_leaves_a_split_empty(tmp_path):
    crawl = make_crawl_folder(tmp_path / "crawl", num_works=1)
    with pytest.raises(ValueError, match="split is empty: all 2 labelled"):
        build_dataset(crawl, tmp_path / "data")


def test_no_vocabulary(crawl, tmp_path):
    (crawl / "labels.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"no labels\.csv"):
        build_dataset(crawl, tmp_path / "data")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_labels": 3, "min_works": 2}, "exclude each other"),
        ({"num_labels": 0}, "num_labels=0 must be at least 1"),
        ({"max_reject_share": 1.5}, r"max_reject_share=1.5 must lie in \[0, 1\]"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        tfds_pixiv_dataset_builder.PixivConfig(name="bad", **settings)


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        build_dataset(tmp_path / "nowhere", tmp_path / "data")
