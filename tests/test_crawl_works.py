"""One work's JSON: what is used of it, whatever is absent or hostile."""

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlgcn_jax.crawl.records import works

NOTICE = "https://s.pximg.net/common/images/limit_{}_360.png"


def single(**changes) -> dict:
    """A work of one page, with the keys that the app API sends."""
    content = {
        "id": 123,
        "title": "白い猫",
        "type": "illust",
        "image_urls": {"square_medium": "s", "medium": "m", "large": "l"},
        "caption": "<b>hello</b>",
        "user": {"id": 7, "name": "n", "account": "a"},
        "tags": [{"name": "猫耳", "translated_name": "cat ears"}, {"name": "メイド"}],
        "create_date": "2023-05-06T07:08:09+09:00",
        "page_count": 1,
        "x_restrict": 0,
        "meta_single_page": {"original_image_url": "o"},
        "meta_pages": [],
        "total_bookmarks": 9,
        "visible": True,
        "illust_ai_type": 1,
    }
    return content | changes


def test_a_work_of_one_page():
    work = works.parse(single())
    assert (work.id, work.user_id, work.type, work.bookmarks) == (123, 7, "illust", 9)
    assert (work.x_restrict, work.ai_type, work.is_hidden) == (0, 1, False)
    assert (work.title, work.caption) == ("白い猫", "<b>hello</b>")
    assert work.tags == ("猫耳", "メイド")
    assert work.translations == {"猫耳": "cat ears"}
    assert work.urls == ({"large": "l", "original": "o"},)


def test_a_work_of_two_pages():
    pages = [
        {"image_urls": {"large": f"l{n}", "original": f"o{n}", "medium": "m"}}
        for n in range(2)
    ]
    work = works.parse(single(meta_single_page={}, meta_pages=pages))
    assert work.urls == (
        {"large": "l0", "original": "o0"},
        {"large": "l1", "original": "o1"},
    )


def test_everything_but_id_tags_and_urls_may_be_absent():
    work = works.parse({"id": 5, "tags": ["a"], "image_urls": {"large": "l"}})
    assert work == works.Work(
        id=5,
        user_id=None,
        type="illust",
        title="",
        caption="",
        tags=("a",),
        translations={},
        urls=({"large": "l"},),
        x_restrict=0,
        ai_type=0,
        bookmarks=0,
        is_hidden=False,
    )


@pytest.mark.parametrize("kind", ["sanity_level", "unviewable", "mypixiv", "unknown"])
def test_a_notice_in_place_of_the_picture_is_seen(kind):
    url = NOTICE.format(kind)
    assert works.parse(
        single(title="", tags=[], meta_single_page={"original_image_url": url})
    ).is_hidden
    assert works.is_notice(url)
    assert works.parse(single(visible=False)).is_hidden
    assert not works.is_notice("https://i.pximg.net/img/1_p0_master1200.jpg")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": None}, "no id"),
        ({"id": 0}, "no id"),
        ({"id": True}, "no id"),
        ({"id": 2**63}, "no id"),
        ({"id": "12x"}, "no id"),
        ({"image_urls": {}, "meta_single_page": {}}, "no picture URL"),
        ({"image_urls": None, "meta_single_page": None}, "no picture URL"),
        ({"meta_pages": [None, {"image_urls": 3}]}, "no picture URL"),
        ({"tags": None}, "tags is not a list"),
        ({"tags": [{"name": 3}]}, "something else than names"),
    ],
)
def test_what_is_no_work_is_told(changes, message):
    with pytest.raises(works.MalformedError, match=message):
        works.parse(single(**changes))


def test_an_id_may_be_written_as_text():
    assert works.parse(single(id="123")).id == 123


def test_halves_of_characters_become_question_marks():
    work = works.parse(single(title="a\ud800", tags=[{"name": "\udfffb"}]))
    assert (work.title, work.tags) == ("a?", ("?b",))


def test_the_day_is_that_of_the_site():
    assert works.creation_day(single()) == "2023-05-06"
    for bad in ("2023-13-45T", "soon", None, 3):
        assert works.creation_day(single(create_date=bad)) is None
    assert works.creation_day("no object") is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@hypothesis.settings(  # the first text takes it a second or two
    suppress_health_check=[hypothesis.HealthCheck.too_slow], deadline=None
)
@given(st.dictionaries(st.sampled_from(sorted(single())), JSON))
def test_any_json_is_a_work_or_malformed(changes):
    try:
        work = works.parse(single(**changes))
    except works.MalformedError:
        return
    texts = (*work.tags, *work.translations, *work.translations.values())
    "".join((work.title, work.caption, *texts)).encode()
    assert 1 <= work.id < 2**63
