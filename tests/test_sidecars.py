"""JSON beside pictures: whose it is; what belongs to nothing."""

import os

import pytest
from layout_files import WORK, add_file, add_json, add_lines, reasons_of, tags_of

from mlgcn_jax.data import folders

HASH = "79644c9c69bf449d016be88eee4d6070"
POST = {"category": "danbooru", "id": 12, "tag_string": "cat ears"}


# Whose it is


@pytest.mark.parametrize(
    ("picture", "sidecar", "entry", "expected"),
    [
        # Its own name says whose it is, and the entry which work: names may be any.
        ("a.png", "a.png.json", WORK, ("12", 0)),
        ("a.png", "a.json", {**WORK, "num": 3}, ("12", 3)),
        ("12_p2.png", "12_p2.json", {**WORK, "num": None}, ("12", 2)),
        ("A.PNG", "A.JSON", WORK, ("12", 0)),
        ("a.png", "metadata/a.png.json", WORK, ("12", 0)),
        ("x/a.png", "x/metadata/a.json", WORK, ("12", 0)),
        ("a.jpg", "a.png.json", WORK, ("12", 0)),  # the suffix was put right
        ("77_p5.png", "77_p5.png.json", WORK, ("12", 0)),
        # What the entry lacks, the file name tells.
        ("12_p3.png", "12_p3.png.json", {"tags": []}, ("12", 3)),
        (f"12-{HASH}_p3.jpg", f"12-{HASH}_p3.json", {"tags": []}, ("12", 3)),
        ("12_p0_master1200.jpg", "12_p0_master1200.json", {"tags": []}, ("12", 0)),
        (f"gelbooru_5_{HASH}.jpg", f"gelbooru_5_{HASH}.json", {"tags": "a"}, None),
        # The category comes before the keys, and they before the file name.
        ("a.png", "a.json", {**POST, "category": "e621"}, ("e621-12", 0)),
        ("1_p1.png", "1_p1.json", {"id": 2, "tag_string": "a"}, ("danbooru-2", 1)),
        (
            f"x_5_{HASH}.png",
            f"x_5_{HASH}.json",
            {"id": 2, "x_restrict": 0, "tags": []},
            ("2", 0),
        ),
        # All pages of a work, in a folder below as well.
        ("12_p4.png", "12.json", WORK, ("12", 4)),
        (f"sub/12-{HASH}_p4.png", "12.json", WORK, ("12", 4)),
        (f"danbooru_12_{HASH}.png", "12.json", POST, ("danbooru-12", 0)),
        # ... unless there is a picture of that very name.
        ("12.png", "12.json", {**WORK, "id": 13}, ("13", 0)),
        ("ab.jpg", "ab-danbooru.json", POST, ("danbooru-12", 0)),
    ],
)
def test_sidecar_belongs_to_picture(tmp_path, picture, sidecar, entry, expected):
    add_file(tmp_path, picture)
    add_json(tmp_path, sidecar, entry)
    pictures, rejects = folders.read_folder(tmp_path)
    assert rejects == []
    assert [*tags_of(pictures)] == [expected or ("gelbooru-5", 0)]
    assert pictures[0].path == tmp_path / picture


def test_a_name_with_dots_is_no_suffix(tmp_path):
    add_file(tmp_path, "a.jpg")
    add_json(tmp_path, "a.v2.json", WORK)
    add_json(tmp_path, "a.jpg.json", {**WORK, "id": 13})
    pictures, rejects = folders.read_folder(tmp_path)
    assert [*tags_of(pictures)] == [("13", 0)]
    assert reasons_of(rejects) == {"a.v2.json": "no picture beside this metadata file"}


def test_closest_metadata_is_taken(tmp_path):
    for page in range(3):
        add_file(tmp_path, f"12_p{page}.png")
    add_json(tmp_path, "12_p0.png.json", {**WORK, "tags": ["own"]})
    add_json(tmp_path, "12.json", {**WORK, "tags": ["of the work"]})
    rows = [{**WORK, "num": page, "tags": ["line"]} for page in range(3)]
    add_lines(tmp_path, "data.jsonl", *rows)
    pictures, rejects = folders.read_folder(tmp_path)
    assert rejects == []
    assert tags_of(pictures) == {
        ("12", 0): ("own",),
        ("12", 1): ("of the work",),
        ("12", 2): ("of the work",),
    }


def test_damaged_metadata_gives_way_to_sound(tmp_path):
    add_file(tmp_path, "12_p0.png")
    add_file(tmp_path, "12_p0.png.json", b"{")
    add_lines(tmp_path, "all.jsonl", {**WORK, "tags": ["line"]})
    pictures, rejects = folders.read_folder(tmp_path)
    assert rejects == []
    assert tags_of(pictures) == {("12", 0): ("line",)}


def test_json_that_says_no_tags_gives_way_to_tag_files(tmp_path):
    for name in ("a", "b"):
        add_file(tmp_path, f"{name}.png")
        add_json(tmp_path, f"{name}.json", {"caption": "of some other tool"})
    add_file(tmp_path, "a.txt", b"cat")
    pictures, rejects = folders.read_folder(tmp_path)
    assert tags_of(pictures) == {("a", 0): ("cat",)}
    assert reasons_of(rejects) == {"b.png": "its metadata: lacks category, id"}


def test_lines_by_id_and_number(tmp_path):
    add_file(tmp_path, "x/12_p0.png")
    add_file(tmp_path, "x/12_p1.png")
    add_file(tmp_path, f"x/danbooru_12_{HASH}.png")
    add_file(tmp_path, "elsewhere/12_p2.png")  # not below the lines
    add_lines(
        tmp_path,
        "x/all.jsonl",
        {**WORK, "num": 1, "tags": ["one"]},
        b"",
        b"\xff",
        POST,
        {**WORK, "tags": ["zero"]},
        {**WORK, "tags": ["again"]},  # from a second run
        {**WORK, "num": 2},
        b'{"category": "pix',  # the run was killed
    )
    pictures, rejects = folders.read_folder(tmp_path)
    assert tags_of(pictures) == {
        ("12", 1): ("one",),
        ("12", 0): ("zero",),
        ("danbooru-12", 0): ("cat", "ears"),
    }
    reasons = [(reject.file, reject.reason.split(":")[0]) for reject in rejects]
    assert reasons == [
        ("x/all.jsonl", "line 3"),
        ("x/all.jsonl", "line 7"),
        ("x/all.jsonl", "line 8"),
        ("elsewhere/12_p2.png", "nothing says its tags"),
    ]
    assert "no picture of page 2 of 12 beside" in rejects[1].reason


# What belongs to nothing, or is no picture


def test_what_cannot_be_used_is_rejected(tmp_path):
    folder = tmp_path / "crawl"
    add_file(folder, "good.png")
    for name in ("good.png", "gone.png", "12_p0.zip", "clip.mp4", "half.png"):
        add_json(folder, f"{name}.json", WORK)
    add_json(folder, "13.json", {**WORK, "id": 13})
    add_json(folder, "info.json", WORK)
    add_file(folder, "12_p0.zip.txt", b"its tags again")
    for name in ("12_p0.zip", "clip.mp4", "half.png.part", "alone.webp", "notes.md"):
        add_file(folder, name)
    (folder / "link.png").symlink_to(add_file(tmp_path, "private.png"))
    add_json(folder, "link.png.json", WORK)
    (folder / "linked.jsonl").symlink_to(add_lines(tmp_path, "private.jsonl", WORK))
    os.mkfifo(folder / "pipe.png.json")
    add_file(folder, "pipe.png")
    pictures, rejects = folders.read_folder(folder)
    assert [picture.path.name for picture in pictures] == ["good.png"]
    leads_outside = "file is a link that leads outside the folder"
    assert reasons_of(rejects) == {
        "gone.png.json": "no picture beside this metadata file",
        "half.png.json": "no picture beside this metadata file",
        "half.png.part": "a download that was not finished",
        "12_p0.zip": "a .zip is no picture",
        "clip.mp4": "a .mp4 is no picture",
        "13.json": "no picture of 13 beside this metadata",
        "alone.webp": "nothing says its tags: no metadata, no .txt beside it",
        "link.png": leads_outside,
        "linked.jsonl": leads_outside,
        "pipe.png": "its metadata: file is a folder or a device",
    }


@pytest.mark.parametrize(
    "names", [["a.png.json", "b.json"], ["12.json"], ["data.jsonl"], ["info.json"]]
)
def test_metadata_without_any_picture(tmp_path, names):
    for name in names:
        add_json(tmp_path, name, WORK)
    with pytest.raises(ValueError, match=f"holds {names[0]}.*expected.*gallery-dl"):
        folders.read_folder(tmp_path)


# Several folders


def test_a_work_of_two_searches_counts_once(tmp_path):
    for search in ("a", "b", "c"):
        add_file(tmp_path, f"{search}/12_p0.png")
    add_file(tmp_path, "a/12_p0.png.json", b"{")  # the first usable one is taken
    add_json(tmp_path, "b/12_p0.png.json", {**WORK, "tags": ["first"]})
    add_json(tmp_path, "c/12_p0.png.json", {**WORK, "tags": ["second"]})
    (picture,), (reject,) = folders.read_folder(tmp_path)
    assert picture.path == tmp_path / "b/12_p0.png"
    assert picture.tags == ("first",)
    assert (reject.id, reject.file) == ("12", "a/12_p0.png")


def test_several_layouts_in_folders_of_their_own(tmp_path):
    add_file(tmp_path, "pixiv/12_p0.png")
    add_json(tmp_path, "pixiv/12_p0.png.json", WORK)
    add_file(tmp_path, "pixiv/12_p0.png.txt", b"the same again")
    add_file(tmp_path, f"danbooru/danbooru_12_{HASH}.png")
    add_json(tmp_path, f"danbooru/danbooru_12_{HASH}.png.json", POST)
    add_file(tmp_path, "mine/images/a.png")
    add_file(tmp_path, "mine/images/unlisted.png")
    rows = [{"id": 99, "file": f"images/{name}.png", "tags": ["c"]} for name in "ab"]
    add_lines(tmp_path, "mine/metadata.jsonl", *rows)
    add_file(tmp_path, "tagged/d.png")
    add_file(tmp_path, "tagged/d.txt", b"d")
    add_file(tmp_path, "tagged/alone.png")
    pictures, rejects = folders.read_folder(tmp_path)
    assert tags_of(pictures) == {
        ("99", 0): ("c",),
        ("12", 0): ("猫",),
        ("danbooru-12", 0): ("cat", "ears"),
        ("tagged/d", 0): ("d",),
    }
    assert reasons_of(rejects) == {
        "mine/images/b.png": "line 2: file does not exist",
        "tagged/alone.png": "nothing says its tags: no metadata, no .txt beside it",
    }


def test_two_layouts_with_the_same_picture(tmp_path):
    add_file(tmp_path, "pixiv/12_p0.png")
    add_json(tmp_path, "pixiv/12_p0.png.json", WORK)
    add_file(tmp_path, "mine/a.png")
    row = {"id": 12, "file": "a.png", "tags": ["c"]}
    add_lines(tmp_path, "mine/metadata.jsonl", row)
    (picture,), (reject,) = folders.read_folder(tmp_path)
    assert picture.tags == ("c",)
    assert (reject.id, reject.file) == ("12", "pixiv/12_p0.png")
    assert reject.reason == "mine/a.png is this page of this work too"
