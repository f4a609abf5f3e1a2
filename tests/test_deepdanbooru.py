"""DeepDanbooru's SQLite beside folders of pictures."""

import contextlib
import sqlite3

import pytest
from layout_files import add_file, add_json, reasons_of, tags_of

from mlgcn_jax.data import folders

MD5 = [f"{number:032x}" for number in range(0xAB << 120, (0xAB << 120) + 20)]
COLUMNS = "id, md5, file_ext, tag_string, tag_count_general"


def write_database(path, rows, columns=COLUMNS):
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(f"CREATE TABLE posts ({columns})")
        marks = ", ".join("?" * len(columns.split(",")))
        database.executemany(f"INSERT INTO posts VALUES ({marks})", rows)


def test_posts_become_pictures(tmp_path):
    add_file(tmp_path, f"images/ab/{MD5[0]}.jpg")
    add_file(tmp_path, f"images/ab/{MD5[1]}.png")
    add_file(tmp_path, f"images/ab/{MD5[2]}.png")  # not listed
    rows = [(9, MD5[1], "png", "", 0), (5, MD5[0], "jpg", "1girl cat_ears", 2)]
    write_database(tmp_path / "danbooru.sqlite", rows)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    pictures, rejects = folders.read_folder(tmp_path)
    assert rejects == []
    assert tags_of(pictures) == {
        ("danbooru-5", 0): ("1girl", "cat_ears"),  # as gallery-dl's folders have it
        ("danbooru-9", 0): (),
    }
    assert pictures[0].path == tmp_path / f"images/ab/{MD5[0]}.jpg"
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_few_and_many_columns(tmp_path):
    add_file(tmp_path, f"few/images/ab/{MD5[0]}.jpg")
    write_database(
        tmp_path / "few/any.db", [(MD5[0], "jpg", "a b")], "md5, file_ext, tag_string"
    )
    add_file(tmp_path, f"many/images/ab/{MD5[1]}.jpg")
    write_database(
        tmp_path / "many/any.sqlite3",
        [(1, MD5[1], "jpg", "a b highres", "highres", "https://example.org", b"\0")],
        "id, md5, file_ext, tag_string, tag_string_meta, source, other",
    )
    pictures, rejects = folders.read_folder(tmp_path)
    assert rejects == []
    assert tags_of(pictures) == {
        (f"danbooru-{MD5[0]}", 0): ("a", "b"),
        ("danbooru-1", 0): ("a", "b"),
    }
    assert pictures[1].source == "https://example.org"


def test_bad_rows_are_rejected(tmp_path):
    add_file(tmp_path, f"images/ab/{MD5[0]}.jpg")
    rows = [
        (1, MD5[0], "jpg", "good", 1),
        (2, MD5[1], "jpg", "a", 1),
        (3, MD5[0], "mp4", "a", 1),
        (4, MD5[0], "../jpg", "a", 1),
        (5, "../../etc/passwd", "jpg", "a", 1),
        (6, MD5[0], "jpg", None, 1),
        (7, MD5[0], "jpg", b"caf\xe9", 1),
        (8, None, "jpg", "a", 1),
        (9, MD5[0], 3.5, "a", 1),
        (10, MD5[0], "jpg", "a" * 10_000, 1),
        (11, MD5[0], "jpg", "a " * 10_000, 1),
        (1, MD5[0], "jpg", "again", 1),
        (1.5, MD5[0], "jpg", "a", 1),
    ]
    write_database(tmp_path / "danbooru.sqlite", rows)
    pictures, rejects = folders.read_folder(tmp_path)
    assert tags_of(pictures) == {("danbooru-1", 0): ("good",)}
    assert {reject.id: reject.reason for reject in rejects} == {
        "2": "file does not exist",
        "3": "a .mp4 is no picture",
        "4": "file_ext is no suffix of a file",
        "5": "md5 is not 32 hexadecimal digits",
        "6": "tag_string is not text",
        "7": "tag_string is not UTF-8 text",
        "8": "md5 is not 32 hexadecimal digits",
        "9": "file_ext is no suffix of a file",
        "10": "has a tag of 10000 characters, more than 2000",
        "11": "has 10000 tags, more than 2000",
        "1": "this id came before",
        "1.5": "id is neither text nor a whole number",
    }
    assert {reject.file for reject in rejects} == {"danbooru.sqlite"}


def test_damaged_and_empty_databases_are_told(tmp_path):
    path = tmp_path / "danbooru.sqlite"
    rows = [(number, md5, "jpg", "a" * 400, 1) for number, md5 in enumerate(MD5)]
    write_database(path, rows)
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * 4096 + content[8192:])
    with pytest.raises(
        ValueError, match=r"danbooru\.sqlite cannot be read .*malformed"
    ):
        folders.read_folder(tmp_path)
    path.unlink()
    write_database(path, [])
    with pytest.raises(ValueError, match=r"posts of .* is empty"):
        folders.read_folder(tmp_path)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE archive (entry)",  # gallery-dl's archive
        "CREATE TABLE posts (id, title)",
        "CREATE VIEW posts AS SELECT 1 AS md5, 2 AS file_ext, 3 AS tag_string",
    ],
)
def test_other_databases_are_left_alone(tmp_path, statement):
    with contextlib.closing(sqlite3.connect(tmp_path / "x.sqlite")) as database:
        database.execute(statement)
    add_file(tmp_path, "y.db", b"no database at all")
    (tmp_path / "z.db").symlink_to("/etc/passwd")
    add_file(tmp_path, "a.png")
    add_json(tmp_path, "a.png.json", {"category": "pixiv", "id": 1, "tags": []})
    pictures, rejects = folders.read_folder(tmp_path)
    assert tags_of(pictures) == {("1", 0): ()}
    assert reasons_of(rejects) == {}
