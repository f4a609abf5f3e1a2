"""Folders that gallery-dl left, each way of its to write metadata.

They lie in `tests/gallery_dl/`, whose `make_fixtures.py` had them made.
"""

from pathlib import Path

import crawl_folders
import pytest
from layout_files import tags_of

from mlgcn_jax.data import folders, labels

FIXTURES = Path(__file__).parent / "gallery_dl"
MAID, CAT_EARS, ORIGINAL, HAIR = "メイド", "猫耳", "オリジナル", "黒髪"
POPULAR, TITLE = "猫耳1000users入り", "Fate/GrandOrder"
PIXIV = {  # (id, page) -> tags
    ("81000001", 0): (MAID, CAT_EARS, POPULAR),
    ("81000002", 0): (MAID, ORIGINAL),
    ("81000002", 1): (MAID, ORIGINAL),
    ("81000004", 0): (MAID, HAIR),
}
TRANSLATED = {
    ("81000001", 0): ("maid", "cat ears", "cat ears 1000+ bookmarks"),
    ("81000002", 0): ("maid", "original"),
    ("81000002", 1): ("maid", "original"),
    ("81000004", 0): ("maid", "black hair"),
}
DANBOORU = {  # without the meta tags highres and absurdres
    ("danbooru-5000001", 0): ("1girl", "cat_ears", "maid"),
    ("danbooru-5000002", 0): ("1girl", "black_hair", "hatsune_miku"),
    ("danbooru-5000003", 0): ("no_humans", "scenery"),
}
EXPECTED = {
    # Work 81000001 lies in both of its searches.
    "pixiv_searches": PIXIV | {("81000003", 0): (CAT_EARS, TITLE)},
    "pixiv_original_tags": PIXIV,
    "pixiv_translated_tags": TRANSLATED,
    "pixiv_works": PIXIV,
    "pixiv_lines": PIXIV,
    "danbooru": DANBOORU,
    "danbooru_lines": DANBOORU,
}


def test_every_fixture_is_expected():
    found = {path.name for path in FIXTURES.iterdir() if path.is_dir()}
    assert found - {"loopback", "__pycache__"} == {*EXPECTED, "pixiv_tag_files"}


@pytest.mark.parametrize("name", EXPECTED)
def test_pictures_and_tags(name):
    pictures, rejects = folders.read_folder(FIXTURES / name)
    assert rejects == []
    assert tags_of(pictures) == EXPECTED[name]
    for picture in pictures:
        number = picture.id.removeprefix("danbooru-")
        assert number in picture.path.name


def test_tag_files_alone():
    # Sorted by gallery-dl; the names of the files tell the works.
    pictures, rejects = folders.read_folder(FIXTURES / "pixiv_tag_files")
    assert rejects == []
    found = {key: set(tags) for key, tags in tags_of(pictures).items()}
    assert found == {key: set(tags) for key, tags in PIXIV.items()}


def test_what_else_is_known_of_a_picture():
    pictures, _ = folders.read_folder(FIXTURES / "pixiv_original_tags")
    first = pictures[0]
    assert (first.title, first.user) == ("work 81000001", "1003")
    assert first.source == "https://www.pixiv.net/artworks/81000001"
    assert first.translations == (
        (MAID, "maid"),
        (CAT_EARS, "cat ears"),
        (POPULAR, "cat ears 1000+ bookmarks"),
    )
    pictures, _ = folders.read_folder(FIXTURES / "danbooru")
    assert pictures[0].source == "https://example.org/5000001"
    assert pictures[0].translations == ()


def test_all_of_them_at_once():
    """Both sites are read; what several folders hold is told, but for second copies."""
    pictures, rejects = folders.read_folder(FIXTURES)
    assert tags_of(pictures).keys() == EXPECTED["pixiv_searches"].keys() | DANBOORU
    assert {reject.reason.split(" is this page")[1] for reject in rejects} == {
        " of this work too"  # of pixiv_tag_files, another layout
    }
    assert len(rejects) == len(PIXIV)


@pytest.mark.parametrize(
    ("name", "label", "count"),
    [
        ("pixiv_searches", "maid", 4),
        ("pixiv_original_tags", "maid", 4),
        ("pixiv_translated_tags", "maid", 4),
        ("pixiv_works", "maid", 4),
        ("pixiv_lines", "maid", 4),
        ("pixiv_tag_files", "maid", 4),
        ("danbooru", "1girl", 2),
        ("danbooru_lines", "1girl", 2),
    ],
)
def test_datasets_of_them(tmp_path, monkeypatch, name, label, count):
    # The few works are split by their order, so that no split is empty.
    monkeypatch.setattr(
        "mlgcn_jax.data.splits.split_of",
        lambda id_: "validation" if id_.endswith("2") else "train",
    )
    vocabulary = tmp_path / "labels.csv"
    vocabulary.write_text(f"label,aliases\nmaid,{MAID}\n1girl,\n", encoding="utf-8")
    data = crawl_folders.build_dataset(
        FIXTURES / name, tmp_path / "data", vocabulary=str(vocabulary)
    )
    chosen = labels.read_vocabulary(vocabulary).labels.index(label)
    examples = [*data.examples("train"), *data.examples("validation")]
    with_label = [e for e in examples if chosen in e["labels"]]
    assert len(with_label) == count
    assert {(e["width"], e["height"]) for e in examples} == {(16, 12)}  # of the pixels
