"""What JSON beside a picture says, and all that may be wrong with it."""

import json
import tempfile
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st
from layout_files import WORK, add_file, add_json, tags_of

from mlgcn_jax.data import folders


@pytest.mark.parametrize(
    ("entry", "tags"),
    [
        ({"tags": ["猫", "空"]}, ("猫", "空")),
        ({"tags": [{"name": "猫", "translated_name": "cat"}]}, ("猫",)),
        ({"tags": [{"name": "猫", "translated_name": None}, "b"]}, ("猫", "b")),
        ({"tags": []}, ()),
        ({"tags": ""}, ()),
        ({"category": "gelbooru", "tags": " 1girl  cat_ears "}, ("1girl", "cat_ears")),
        ({"category": "e621", "tags": ["a", "b"], "tags_meta": ["b"]}, ("a",)),
        ({"category": "yandere", "tags": "a b c", "tags_meta": "b c"}, ("a",)),
        ({"tag_string": "a b", "tag_string_meta": "b", "tags": ["c"]}, ("a",)),
        ({"tags": ["a"], "tags_meta": {"x": 1}}, ("a",)),
        ({"tags": ["a"], "title": ["x"], "user": 3, "source": {}}, ("a",)),
    ],
)
def test_tags(tmp_path, entry, tags):
    add_file(tmp_path, "a.png")
    add_json(tmp_path, "a.png.json", {"category": "pixiv", "id": "7", **entry})
    ((picture,), rejects) = folders.read_folder(tmp_path)
    assert rejects == []
    assert picture.tags == tags
    assert (
        picture.title
        == picture.source.removeprefix("https://www.pixiv.net/artworks/7")
        == ""
    )


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[" * 100_000, "not JSON"),
        ([WORK], "not a JSON object"),
        (None, "not a JSON object"),
        ({}, "lacks category, id"),
        ({"tags": ["a"]}, "lacks category, id"),
        ({**WORK, "id": None}, "lacks id"),
        ({**WORK, "id": ""}, "lacks id"),
        ({**WORK, "id": [1]}, "id is neither"),
        ({**WORK, "id": True}, "id is neither"),
        ({**WORK, "id": "\ud800"}, "not Unicode"),
        ({**WORK, "num": -1}, "num is not"),
        ({**WORK, "num": "0"}, "num is not"),
        ({**WORK, "num": 0.5}, "num is not"),
        ({**WORK, "num": 2**31}, "num is not"),
        ({"category": "pixiv", "id": 12}, "lacks tags"),
        ({**WORK, "tags": None}, "lacks tags"),
        ({**WORK, "tags": {"general": ["a"]}}, "tags is not a list"),
        ({**WORK, "tags": 3}, "tags is not a list"),
        ({**WORK, "tags": [["a"]]}, "tags holds"),
        ({**WORK, "tags": [{"name": ["a"]}]}, "tags holds"),
        ({**WORK, "tags": ["\udc80"]}, "not Unicode"),
        ({**WORK, "tags": [{"name": "a", "translated_name": "\udc80"}]}, "not Unicode"),
        ({**WORK, "tags": ["a"] * 10_000}, "has 10000 tags, more than"),
        ({**WORK, "tags": ["a" * 10_000]}, "has a tag of 10000 characters"),
    ],
)
def test_bad_metadata_is_rejected_and_the_rest_read(tmp_path, entry, reason):
    add_file(tmp_path, "bad.png")
    text = entry if isinstance(entry, bytes) else json.dumps(entry).encode()
    add_file(tmp_path, "bad.png.json", text)
    add_file(tmp_path, "good.png")
    add_json(tmp_path, "good.png.json", {**WORK, "id": "good"})
    pictures, (reject,) = folders.read_folder(tmp_path)
    assert [picture.id for picture in pictures] == ["good"]
    assert reject.file == "bad.png"
    assert reject.reason.startswith("its metadata: ")
    assert reason in reject.reason


# Anything at all


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=True)
    | st.text(st.characters(), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "translated_name", "id"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
KEYS = ["id", "num", "category", "tags", "tag_string", "tag_string_meta", "tags_meta"]
KEYS += ["x_restrict", "title", "user", "source"]
ENTRIES = JSON | st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6)
NAMES = st.sampled_from(["1_p0.png.json", "1_p0.json", "1.json", "data.jsonl"])


@hypothesis.settings(max_examples=150, deadline=None)
@hypothesis.given(NAMES, ENTRIES)
def test_any_json_is_read_or_rejected(name, entry):
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        add_file(folder, "1_p0.png")
        add_file(folder, "2_p0.png")
        add_json(folder, "2_p0.png.json", {**WORK, "id": 2})
        add_json(folder, name, entry)
        pictures, rejects = folders.read_folder(folder)
        assert ("2", 0) in tags_of(pictures)
        # Read, or told; never lost. A second work may have the id of the first.
        assert len(pictures) == 2 or rejects or entry["id"] in (2, "2")
        f"{pictures}{[reject.reason for reject in rejects]}".encode()
