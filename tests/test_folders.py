"""Our own crawl folders and tag files, and everything that is wrong with real ones."""

import json
import os
from pathlib import Path

import layout_files
import pytest

from mlgcn_jax.data import archives, folder_contents, folders, labels


def write_lines(folder, *lines):
    """Writes metadata.jsonl: objects as JSON, bytes as they are."""
    layout_files.add_lines(folder, "metadata.jsonl", *lines)


@pytest.fixture
def crawl(tmp_path):
    """A folder with one picture, images/a.jpg, whose metadata is yet to be written."""
    folder = tmp_path / "crawl"
    layout_files.add_file(folder, "images/a.jpg")
    return folder


ENTRY = {"id": 7, "file": "images/a.jpg", "tags": ["cat"]}


# metadata.jsonl


def test_metadata_becomes_pictures_in_order(crawl):
    layout_files.add_file(crawl, "images/b.jpg")
    write_lines(
        crawl,
        {
            **{"id": "x9", "page": 2, "file": "images/b.jpg", "tags": ["猫", "cat"]},
            **{"title": "Two", "user": 123, "source": None, "license": "CC0"},
            **{"width": 3, "unknown": [1, {}]},
        },
        b"  ",
        ENTRY,
    )
    pictures, rejects = folders.read_folder(crawl)
    assert rejects == []
    assert pictures == [
        folder_contents.Picture(
            id="x9",
            page=2,
            path=crawl / "images/b.jpg",
            tags=("猫", "cat"),
            title="Two",
            user="123",
            source="",
            license="CC0",
        ),
        folder_contents.Picture(
            id="7", page=0, path=crawl / "images/a.jpg", tags=("cat",)
        ),
    ]


def test_tags_as_pixiv_sends_them(crawl):
    tags = [{"name": "猫", "translated_name": "cat"}, {"name": "空"}, "sky"]
    write_lines(crawl, {**ENTRY, "tags": tags}, {**ENTRY, "page": 1, "tags": []})
    pictures, rejects = folders.read_folder(crawl)
    assert rejects == []
    assert [picture.tags for picture in pictures] == [("猫", "空", "sky"), ()]


def test_windows_line_ends_and_byte_order_mark(crawl):
    line = json.dumps(ENTRY).encode()
    (crawl / "metadata.jsonl").write_bytes(b"\xef\xbb\xbf" + line + b"\r\n\r\n")
    pictures, rejects = folders.read_folder(crawl)
    assert [picture.id for picture in pictures] == ["7"]
    assert rejects == []


@pytest.mark.parametrize(
    ("line", "id", "page", "file", "reason"),
    [
        (b"{not json", "", 0, "metadata.jsonl", "not JSON"),
        (b'{"id": 1', "", 0, "metadata.jsonl", "not JSON"),
        (b"\xff\xfe\x00", "", 0, "metadata.jsonl", "not UTF-8"),
        (b'{"id": "\x83\x65"}', "", 0, "metadata.jsonl", "not UTF-8"),
        (b"[" * 100_000, "", 0, "metadata.jsonl", "not JSON"),
        (b'{"id": ' + b"9" * 5000 + b"}", "", 0, "metadata.jsonl", "not JSON"),
        (["a"], "", 0, "metadata.jsonl", "not a JSON object"),
        (None, "", 0, "metadata.jsonl", "not a JSON object"),
        ({}, "", 0, "metadata.jsonl", "lacks id, file, tags"),
        ({"file": "x", "tags": []}, "", 0, "x", "lacks id"),
        ({**ENTRY, "id": ""}, "", 0, "images/a.jpg", "lacks id"),
        ({"id": 1, "page": 3, "tags": []}, "1", 3, "metadata.jsonl", "lacks file"),
        ({"id": 1, "file": "images/a.jpg"}, "1", 0, "images/a.jpg", "lacks tags"),
        ({**ENTRY, "tags": None}, "7", 0, "images/a.jpg", "lacks tags"),
        ({**ENTRY, "tags": "cat"}, "7", 0, "images/a.jpg", "tags is not a list"),
        ({**ENTRY, "tags": {"a": 1}}, "7", 0, "images/a.jpg", "tags is not a list"),
        ({**ENTRY, "tags": [1]}, "7", 0, "images/a.jpg", "tags holds"),
        ({**ENTRY, "tags": [["cat"]]}, "7", 0, "images/a.jpg", "tags holds"),
        ({**ENTRY, "tags": [{"tag": "cat"}]}, "7", 0, "images/a.jpg", "tags holds"),
        ({**ENTRY, "tags": [{"name": {}}]}, "7", 0, "images/a.jpg", "tags holds"),
        ({**ENTRY, "id": [1]}, "", 0, "images/a.jpg", "id is neither"),
        ({**ENTRY, "id": True}, "", 0, "images/a.jpg", "id is neither"),
        ({**ENTRY, "id": 1.5}, "", 0, "images/a.jpg", "id is neither"),
        ({**ENTRY, "title": ["a"]}, "7", 0, "images/a.jpg", "title is neither"),
        ({**ENTRY, "page": "1"}, "7", 0, "images/a.jpg", "page is not"),
        ({**ENTRY, "page": -1}, "7", -1, "images/a.jpg", "page is not"),
        ({**ENTRY, "page": True}, "7", 0, "images/a.jpg", "page is not"),
        ({**ENTRY, "page": 2**31}, "7", 2**31, "images/a.jpg", "page is not"),
        ({**ENTRY, "file": 3}, "7", 0, "metadata.jsonl", "file is not text"),
        ({**ENTRY, "file": "a.jpg"}, "7", 0, "a.jpg", "file does not exist"),
        ({**ENTRY, "file": "images"}, "7", 0, "images", "is a folder"),
        ({**ENTRY, "file": "images/a.jpg/x"}, "7", 0, None, "file does not exist"),
        ({**ENTRY, "file": "a\0.jpg"}, "7", 0, "a\0.jpg", "file cannot be used"),
        ({**ENTRY, "file": "x" * 5000}, "7", 0, "x" * 5000, "file cannot be used"),
        ({**ENTRY, "file": "../crawl/images/a.jpg"}, "7", 0, None, "outside"),
        ({**ENTRY, "file": "images/../../a.jpg"}, "7", 0, None, "outside"),
        ({**ENTRY, "file": "/etc/passwd"}, "7", 0, "/etc/passwd", "outside"),
        # Half of a surrogate pair, which JSON can say and UTF-8 cannot.
        ({**ENTRY, "id": "a\ud83d"}, "a\\ud83d", 0, "images/a.jpg", "not Unicode"),
        ({**ENTRY, "tags": ["\ud83d"]}, "7", 0, "images/a.jpg", "not Unicode"),
        ({**ENTRY, "file": "\udc80"}, "7", 0, "\\udc80", "not Unicode"),
    ],
)
def test_bad_line_is_rejected_and_the_rest_read(crawl, line, id, page, file, reason):
    if file is None:
        file = line["file"]
    layout_files.add_file(crawl, "images/good.jpg")
    good = {"id": "good", "file": "images/good.jpg", "tags": []}
    write_lines(crawl, {**good, "page": 0}, line, {**good, "page": 1})
    pictures, rejects = folders.read_folder(crawl)
    assert [(picture.id, picture.page) for picture in pictures] == [
        ("good", 0),
        ("good", 1),
    ]
    (reject,) = rejects
    assert (reject.id, reject.page, reject.file) == (id, page, file)
    assert reject.reason.startswith("line 2: ")
    assert reason in reject.reason
    assert str(crawl) not in reject.reason
    f"{reject}".encode()  # can be written down


def test_of_duplicates_the_first_usable_is_taken(crawl):
    layout_files.add_file(crawl, "images/b.jpg")
    write_lines(
        crawl,
        {**ENTRY, "file": "images/absent.jpg"},
        ENTRY,
        {**ENTRY, "id": "7", "file": "images/b.jpg"},  # 7 and "7" are one id
        {**ENTRY, "page": 1},
    )
    pictures, rejects = folders.read_folder(crawl)
    assert [(p.page, p.path.name) for p in pictures] == [(0, "a.jpg"), (1, "a.jpg")]
    assert [reject.reason for reject in rejects] == [
        "line 1: file does not exist",
        "line 3: page 0 of this id came before",
    ]


def test_links_may_not_lead_outside(crawl, tmp_path):
    layout_files.add_file(
        tmp_path, "crawl-private/secret.jpg"
    )  # its name begins like the folder's
    (crawl / "images/out.jpg").symlink_to(tmp_path / "crawl-private/secret.jpg")
    (crawl / "outside").symlink_to(tmp_path / "crawl-private")
    (crawl / "images/in.jpg").symlink_to("a.jpg")
    (crawl / "inside").symlink_to("images")
    (crawl / "images/dangling.jpg").symlink_to("nowhere.jpg")
    (crawl / "images/loop.jpg").symlink_to("loop.jpg")
    files = ["images/out.jpg", "outside/secret.jpg", "images/in.jpg", "inside/a.jpg"]
    files += ["images/dangling.jpg", "images/loop.jpg"]
    write_lines(crawl, *({**ENTRY, "id": file, "file": file} for file in files))
    pictures, rejects = folders.read_folder(crawl)
    assert [picture.id for picture in pictures] == ["images/in.jpg", "inside/a.jpg"]
    reasons = {reject.id: reject.reason.split(": ", 1)[1] for reject in rejects}
    leads_outside = "file is a link that leads outside the folder"
    assert reasons == {
        "images/out.jpg": leads_outside,
        "outside/secret.jpg": leads_outside,
        "images/dangling.jpg": "file does not exist",
        "images/loop.jpg": "file cannot be used: Too many levels of symbolic links",
    }


def test_folder_may_itself_be_a_link(crawl, tmp_path):
    write_lines(crawl, ENTRY)
    link = tmp_path / "link"
    link.symlink_to(crawl)
    pictures, _ = folders.read_folder(link)
    assert [picture.path for picture in pictures] == [link / "images/a.jpg"]


def test_relative_folder(crawl, monkeypatch):
    write_lines(crawl, ENTRY)
    monkeypatch.chdir(crawl)
    pictures, rejects = folders.read_folder(Path("."))
    assert [picture.path for picture in pictures] == [Path("images/a.jpg")]
    assert rejects == []


def test_device_is_no_picture(crawl):
    os.mkfifo(crawl / "images/pipe.jpg")
    write_lines(crawl, {**ENTRY, "file": "images/pipe.jpg"})
    pictures, (reject,) = folders.read_folder(crawl)
    assert pictures == []
    assert "folder or a device" in reject.reason


def test_one_check_of_links_for_a_directory(crawl, monkeypatch):
    for index in range(50):
        layout_files.add_file(crawl, f"images/{index}.jpg")
    write_lines(
        crawl, *({**ENTRY, "id": i, "file": f"images/{i}.jpg"} for i in range(50))
    )
    resolved = []
    resolve = Path.resolve
    monkeypatch.setattr(
        Path, "resolve", lambda path: resolved.append(path) or resolve(path)
    )
    pictures, _ = folders.read_folder(crawl)
    assert len(pictures) == 50
    assert len(resolved) == 2  # the folder and images/


# Tag files


def test_tag_files_beside_pictures(tmp_path):
    layout_files.add_file(tmp_path, "b.PNG")
    layout_files.add_file(tmp_path, "b.txt", b"cat, cat ears ,\n")
    layout_files.add_file(tmp_path, "10_style/a.v2.webp")
    layout_files.add_file(
        tmp_path, "10_style/a.v2.txt", "\ufeff猫\r\n猫耳\r\n\r\n".encode()
    )
    layout_files.add_file(tmp_path, "c.jpg")
    layout_files.add_file(tmp_path, "c.txt", b"")
    layout_files.add_file(tmp_path, ".thumbnails/b.png")
    layout_files.add_file(tmp_path, "._b.png")
    layout_files.add_file(tmp_path, "notes.md")
    pictures, rejects = folders.read_folder(tmp_path)
    assert rejects == []
    assert pictures == [
        folder_contents.Picture(
            "10_style/a.v2", 0, tmp_path / "10_style/a.v2.webp", ("猫", "猫耳")
        ),
        folder_contents.Picture("b", 0, tmp_path / "b.PNG", ("cat", "cat ears")),
        folder_contents.Picture("c", 0, tmp_path / "c.jpg", ()),
    ]


def test_bad_tag_files_are_rejected(tmp_path):
    folder = tmp_path / "crawl"
    for name in ("good.jpg", "good.png", "alone.jpg", "latin.jpg", "link.jpg"):
        layout_files.add_file(folder, name)
    layout_files.add_file(folder, "good.txt", b"cat")
    layout_files.add_file(folder, "latin.txt", b"caf\xe9")
    layout_files.add_file(folder, "sub/orphan.txt", b"cat")
    (folder / "link.txt").symlink_to(layout_files.add_file(tmp_path, "private.txt"))
    (folder / "elsewhere").symlink_to(folder / "sub")
    odd = os.fsdecode(b"odd\xff")  # a name that is not UTF-8
    layout_files.add_file(folder, f"{odd}.jpg")
    layout_files.add_file(folder, f"{odd}.txt")
    pictures, rejects = folders.read_folder(folder)
    assert [(p.id, p.path.name) for p in pictures] == [("good", "good.jpg")]
    found = {(reject.id, reject.file): reject.reason for reject in rejects}
    assert found == {
        ("good", "good.png"): "another picture has the same name",
        ("alone", "alone.jpg"): "nothing says its tags: no metadata, no .txt beside it",
        ("latin", "latin.jpg"): "its .txt tag file is not UTF-8 text",
        ("link", "link.jpg"): "file is a link that leads outside the folder",
        ("sub/orphan", "sub/orphan.txt"): "no picture beside this tag file",
        ("elsewhere", "elsewhere"): "links to folders are not followed",
        ("odd\\udcff", "odd\\udcff.jpg"): "holds characters that are not Unicode",
    }
    assert len(found) == len(rejects)


def test_names_tell_the_works_of_tag_files(tmp_path):
    md5s = ["a" * 32, "b" * 32]
    names = ["x/7_p1.png", "y/7_p1.png", *(f"site_5_{md5}.jpg" for md5 in md5s)]
    for name in names:
        layout_files.add_file(tmp_path, name)
        layout_files.add_file(tmp_path, f"{name}.txt", name.encode())
    pictures, rejects = folders.read_folder(tmp_path)
    assert layout_files.tags_of(pictures) == {
        ("site-5", 0): (names[2],),
        ("7", 1): (names[0],),  # its second copy counts once
    }
    # The same number and another picture: told.
    assert layout_files.reasons_of(rejects) == {
        names[3]: "another picture has the same name"
    }


def test_metadata_is_preferred_to_tag_files(crawl):
    layout_files.add_file(crawl, "images/a.txt", b"dog")
    write_lines(crawl, ENTRY)
    pictures, _ = folders.read_folder(crawl)
    assert [(picture.id, picture.tags) for picture in pictures] == [("7", ("cat",))]


# No crawl folder


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="none is not a folder"):
        folders.read_folder(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        folders.read_folder(layout_files.add_file(tmp_path, "file.tar"))


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ([], "is empty"),
        (["a.jpg", "sub/b.png"], "holds a.jpg, sub;"),
        (["a.jpg", "LICENSE.txt", "x.md"], "holds LICENSE.txt, a.jpg, x.md;"),
        (list("abcdefg"), r"holds a, b, c, d, e, \.\.\.;"),
    ],
)
def test_neither_layout(tmp_path, files, found):
    for name in files:
        layout_files.add_file(tmp_path, name)
    with pytest.raises(ValueError, match=found) as caught:
        folders.read_folder(tmp_path)
    assert "metadata.jsonl" in str(caught.value)
    assert "pictures with .txt tag files" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_empty_metadata(crawl, content):
    (crawl / "metadata.jsonl").write_bytes(content)
    with pytest.raises(ValueError, match=r"metadata\.jsonl is empty"):
        folders.read_folder(crawl)


def test_shipped_sample_is_a_crawl_folder(tmp_path):
    archives.unpack(folders.SAMPLE, tmp_path / "sample")
    pictures, rejects = folders.read_folder(tmp_path / "sample")
    assert rejects == []
    assert len(pictures) == 2716
    assert {picture.license for picture in pictures} == {"public domain"}
    openclipart = labels.named_vocabulary("openclipart40")
    assert all(openclipart.label_indices(picture.tags) for picture in pictures)
