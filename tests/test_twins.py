"""Copies of a picture under other ids: told, and never on both sides of the split."""

import numpy as np
import pytest
from absl.testing import flagsaver
from built_datasets import examples, file_hashes, read_build, read_csv
from crawl_folders import LABELS, add_picture, build_dataset, make_crawl_folder
from picture_copies import as_jpeg, cropped, fingerprint, scaled, scene
from picture_files import gradient, noise
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from mlgcn_jax.commands import build
from mlgcn_jax.data import dataset, files, splits
from tfds_pixiv import encoding, fingerprints, twin_index

TRAIN_IDS = [n for n in range(1, 4000) if splits.split_of(str(n)) == "train"]
VALIDATION_IDS = [n for n in range(1, 4000) if splits.split_of(str(n)) == "validation"]


def on_white(colour=(0, 0, 0), box=(20, 30, 90, 80)):
    image = Image.new("RGB", (128, 128), "white")
    ImageDraw.Draw(image).ellipse(box, fill=colour)
    return image


def difference(first, second):
    (found,) = fingerprints.differences(
        fingerprint(first, "1")[None], fingerprint(second, "2")[None]
    )
    return found


# Two pictures


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda image: image.copy(), id="equal"),
        pytest.param(lambda image: as_jpeg(image, 95), id="jpeg95"),
        pytest.param(lambda image: as_jpeg(image, 50), id="jpeg50"),
        pytest.param(lambda image: scaled(image, 0.5), id="half"),
        pytest.param(lambda image: scaled(image, 2), id="double"),
        pytest.param(lambda image: cropped(image, 0.02), id="crop"),
        pytest.param(
            lambda image: as_jpeg(scaled(cropped(image, 0.02), 0.7), 75), id="all"
        ),
        pytest.param(lambda image: image.point(lambda v: max(v - 6, 0)), id="darker"),
    ],
)
def test_copies_are_twins(change):
    for seed in range(5):
        image = scene(seed)
        assert difference(image, change(image)) <= 0.02
        assert difference(change(image), image) <= 0.02


def test_copies_of_small_noise_are_twins():
    # Little of it is left when it is blurred, and JPEG spares its colours least.
    copies = 0
    for seed in range(20):
        image = noise(48, 48, seed=seed)
        copies += np.isfinite(difference(image, as_jpeg(image, 75)))
        copies += np.isfinite(difference(image, scaled(image, 2)))
        assert np.isinf(difference(image, noise(48, 48, seed=100 + seed)))
    assert copies == 40


def recoloured(image):
    return Image.merge("RGB", image.split()[::-1])


def with_a_spot(image):
    image = image.copy()
    ImageDraw.Draw(image).ellipse((100, 100, 130, 130), fill=(255, 0, 255))
    return image


@pytest.mark.parametrize(
    "change",
    [
        ImageOps.mirror,
        ImageOps.flip,
        recoloured,
        with_a_spot,
        lambda image: cropped(image, 0.15),
        lambda image: image.resize((320, 240)),  # another aspect
        lambda image: ImageEnhance.Color(image).enhance(0.4),
    ],
)
def test_changed_pictures_are_no_twins(change):
    for seed in range(5):
        assert np.isinf(difference(scene(seed), change(scene(seed))))


def test_other_pictures_are_no_twins():
    prints = np.stack([fingerprint(scene(n), str(n)) for n in range(40)])
    first, second = np.triu_indices(len(prints), 1)
    assert np.isinf(fingerprints.differences(prints[first], prints[second])).all()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((255, 0, 0), (0, 0, 255)),
        ((76, 76, 76), (255, 0, 0)),  # the same grey
        ((200, 40, 40), (200, 110, 40)),
        ((0, 0, 128), (0, 60, 128)),
    ],
)
def test_balloons_of_other_colours_are_no_twins(first, second):
    assert np.isinf(difference(on_white(first), on_white(second)))
    assert difference(on_white(first), as_jpeg(on_white(first), 75)) <= 0.02


def test_drawings_of_a_few_pixels_are_no_twins():
    drawings = [on_white(box=(x, 40, x + 3, 43)) for x in range(10, 110, 10)]
    for n, first in enumerate(drawings):
        assert difference(first, first) == 0
        assert all(np.isinf(difference(first, other)) for other in drawings[n + 1 :])


def test_pictures_of_one_colour_are_never_twins():
    for colour in ("white", "black", (200, 30, 90)):
        page = Image.new("RGB", (64, 90), colour)
        assert fingerprint(page)["is_one_colour"]
        assert np.isinf(difference(page, page))


def test_pages_of_one_work_are_no_twins():
    pages = np.stack([fingerprint(scene(0), "7"), fingerprint(scene(0), "7")])
    assert np.isinf(fingerprints.differences(pages[:1], pages[1:]))


def test_equal_bytes_are_twins_where_there_is_next_to_no_content():
    # Fine noise: blurred there is nothing left to compare.
    faint = noise(512, 512).point(lambda value: 255 - value // 8)
    assert difference(faint, faint) == 0
    assert np.isinf(difference(faint, ImageOps.mirror(faint)))


# Many pictures


def test_index_finds_what_comparing_all_pairs_finds():
    pictures = [scene(n, size=(60, 80)) for n in range(60)]
    pictures += [as_jpeg(pictures[n], 60) for n in range(0, 60, 3)]
    pictures += [cropped(pictures[n], 0.02) for n in range(1, 60, 3)]
    pictures += [gradient(), Image.new("RGB", (60, 80))] * 2
    prints = np.stack([fingerprint(p, str(n)) for n, p in enumerate(pictures)])
    first, second = np.tril_indices(len(prints), -1)
    is_twin = np.isfinite(fingerprints.differences(prints[first], prints[second]))
    expected = np.zeros(len(prints), bool)
    expected[first[is_twin]] = True
    twins, differences = twin_index.TwinIndex(prints).find_earlier()
    np.testing.assert_array_equal(twins >= 0, expected)
    assert expected.sum() >= 38
    found = np.flatnonzero(expected)
    again = fingerprints.differences(prints[found], prints[twins[found]])
    np.testing.assert_array_equal(differences[found], again)


def test_balloons_with_one_hash_are_found_by_their_colour():
    rng = np.random.default_rng(0)
    colours = [tuple(map(int, c)) for c in rng.integers(0, 120, (100, 3))]
    prints = np.stack(
        [fingerprint(on_white(colour), str(n)) for n, colour in enumerate(colours)]
    )
    copies = np.stack(
        [fingerprint(as_jpeg(on_white(colour), 90), "x") for colour in colours]
    )
    twins, _ = twin_index.TwinIndex(prints).find(copies)
    is_twin = np.isfinite(fingerprints.differences(copies, prints))
    assert is_twin.mean() >= 0.9
    assert (twins[is_twin] >= 0).all()


def test_a_hundred_thousand_copies_take_one_comparison_each(monkeypatch):
    one = fingerprint(scene(0))
    prints = np.repeat(one[None], 100_000)
    prints["work"] = np.arange(len(prints))
    compared = []
    differences = fingerprints.differences

    def counted(first, second):
        compared.append(len(first))
        return differences(first, second)

    monkeypatch.setattr(fingerprints, "differences", counted)
    twins, _ = twin_index.TwinIndex(prints).find_earlier()
    assert (twins >= 0).sum() == len(prints) - 1
    assert sum(compared) < 10 * len(prints)


def test_thousands_of_blank_pages_cost_no_comparison(monkeypatch):
    prints = np.repeat(fingerprint(Image.new("RGB", (64, 64)))[None], 5000)
    prints["work"] = np.arange(len(prints))
    index = twin_index.TwinIndex(prints)
    monkeypatch.setattr(fingerprints, "differences", None)
    assert (index.find_earlier()[0] == -1).all()
    assert (index.find(prints)[0] == -1).all()


# A build


@pytest.fixture
def crawl(tmp_path):
    """24 works (30 pictures) and copies of one of each split in both splits."""
    folder = make_crawl_folder(tmp_path / "crawl")
    for number, (id_, page, change) in enumerate(
        [
            (VALIDATION_IDS[0], 0, lambda image: image),
            (TRAIN_IDS[0], 0, lambda image: as_jpeg(image, 75)),
            (TRAIN_IDS[1], 0, lambda image: scaled(image, 0.5)),
            (VALIDATION_IDS[1], 0, lambda image: as_jpeg(image, 90)),
        ]
    ):
        add_picture(
            folder, change(scene(1)), id=id_, page=page, tags=[LABELS[number], "red"]
        )
    for id_ in TRAIN_IDS[2:5]:
        add_picture(folder, scene(2), id=id_, tags=["circle"])
    for page in range(2):
        add_picture(folder, scene(3), id=TRAIN_IDS[5], page=page, tags=["circle"])
    return folder


def test_training_pictures_that_validation_has_are_left_out(crawl, tmp_path):
    data = build_dataset(crawl, tmp_path / "data")
    ids = [example["id"] for example in examples(data)]
    assert not {str(TRAIN_IDS[0]), str(TRAIN_IDS[1])} & set(ids)
    assert len(ids) == 30 + 9 - 2
    record = read_build(data)
    assert record["counts"]["twins"] == {
        "train_validation": 2,
        "train": 2,  # of three copies; pages of one work are none
        "validation": 1,
    }
    assert record["settings"]["twins"] == "drop"
    assert record["counts"]["train"] == data.num_examples("train")
    rows = read_csv(data.directory / "twins.csv")
    across = [row for row in rows if row["split"] != row["twin_split"]]
    assert {row["id"] for row in across} == {str(n) for n in TRAIN_IDS[:2]}
    for row in across:
        assert (row["split"], row["twin_split"]) == ("train", "validation")
        assert int(row["twin_id"]) in VALIDATION_IDS[:2]
        assert row["file"] == f"{row['id']}_p0.png"
        assert row["kept"] == "no"
        assert 0 <= float(row["difference"]) <= 0.1
    within = [row for row in rows if row not in across]
    assert [row["kept"] for row in within] == ["yes"] * 3


def test_kept_twins_are_counted_all_the_same(crawl, tmp_path):
    dropped = build_dataset(crawl, tmp_path / "dropped")
    kept = build_dataset(crawl, tmp_path / "kept", twins="keep")
    assert len(examples(kept)) == 39 == len(examples(dropped)) + 2
    assert read_build(kept)["counts"]["twins"] == read_build(dropped)["counts"]["twins"]
    rows = read_csv(kept.directory / "twins.csv")
    assert [row["kept"] for row in rows] == ["yes"] * 5


def test_the_build_does_not_depend_on_threads_or_batches(crawl, tmp_path, monkeypatch):
    first = build_dataset(crawl, tmp_path / "first")
    monkeypatch.setattr(encoding.os, "cpu_count", lambda: 7)
    monkeypatch.setattr(
        "tfds_pixiv.tfds_pixiv_dataset_builder._PICTURES_PER_LOOK_UP", 3
    )
    second = build_dataset(crawl, tmp_path / "second")
    assert file_hashes(first.directory) == file_hashes(second.directory)


def test_nothing_left_to_train_on_is_told(tmp_path):
    folder = tmp_path / "crawl"
    for id_ in (*TRAIN_IDS[:3], VALIDATION_IDS[0]):
        add_picture(folder, scene(1), id=id_, tags=["circle"])
    with pytest.raises(ValueError, match=r"train split is empty: 3 .*--twins=keep"):
        build_dataset(folder, tmp_path / "data", num_labels=1)
    kept = build_dataset(folder, tmp_path / "data", num_labels=1, twins="keep")
    assert kept.num_examples("train") == 3


def test_an_unknown_policy_is_refused(crawl, tmp_path):
    with pytest.raises(ValueError, match="twins='some' must be one of drop, keep"):
        build_dataset(crawl, tmp_path / "data", twins="some")


# `mlgcn build`


def run_build(crawl, data_dir, **chosen):
    with flagsaver.flagsaver(data_dir=str(data_dir), **chosen):
        build.main(["build", str(crawl)])


def test_build_says_what_it_left_out(crawl, tmp_path, capsys):
    run_build(crawl, tmp_path / "data")
    assert (
        "twins: 2 training pictures left out as copies of validation pictures; 2 "
        "copies within train, 1 within validation (twins.csv)"
    ) in capsys.readouterr().out
    run_build(crawl, tmp_path / "data")  # whatever was asked for is there
    run_build(crawl, tmp_path / "data", twins="drop")
    with pytest.raises(ValueError, match=r"built with twins=drop, not keep.*overwrite"):
        run_build(crawl, tmp_path / "data", twins="keep")
    run_build(crawl, tmp_path / "data", twins="keep", overwrite=True)
    assert "2 training pictures kept that are copies" in capsys.readouterr().out


def test_a_dataset_of_before_is_taken_as_it_is(crawl, tmp_path, capsys):
    run_build(crawl, tmp_path / "data", twins="keep")
    directory = dataset.open_dataset(tmp_path / "data").directory
    (directory / "twins.csv").unlink()
    record = files.read_json(directory / "build.json")
    del record["settings"]["twins"], record["counts"]["twins"]
    files.write_json(directory / "build.json", record)
    capsys.readouterr()
    run_build(crawl, tmp_path / "data")
    run_build(crawl, tmp_path / "data", twins="keep")
    assert "twins" not in capsys.readouterr().out
    with pytest.raises(ValueError, match="built with twins=keep, not drop"):
        run_build(crawl, tmp_path / "data", twins="drop")
