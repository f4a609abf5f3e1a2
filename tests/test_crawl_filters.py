"""What a crawl leaves out by default, and what it takes when told so."""

import pytest
from test_crawl_works import single

from mlgcn_jax.crawl.records import filters, works

DEFAULT = filters.Filters()


def reason(wanted: filters.Filters = DEFAULT, **changes) -> str | None:
    return wanted.reason_against(works.parse(single(**changes)))


def test_a_plain_illustration_is_taken():
    assert reason() is None


@pytest.mark.parametrize(
    ("changes", "expected", "allowing"),
    [
        ({"x_restrict": 1}, "R-18", {"allow_r18": True}),
        ({"x_restrict": 2}, "R-18", {"allow_r18": True}),
        ({"illust_ai_type": 2}, "AI-generated", {"allow_ai": True}),
        ({"type": "manga"}, "type manga", {"types": ("illust", "manga")}),
        ({"type": "ugoira"}, "type ugoira", {"types": ("ugoira",)}),
        (
            {"tags": [{"name": "無断転載禁止"}]},
            "opt-out tag",
            {"opt_out_tags": ("NoAI",)},
        ),
    ],
)
def test_what_is_left_out_can_be_allowed(changes, expected, allowing):
    assert reason(**changes) == expected
    assert reason(filters.Filters(**allowing), **changes) is None


@pytest.mark.parametrize(
    "text", ["NoAI", "noai", "No-AI", "ＡＩ学習禁止", "no_ai", "X 学習禁止"]
)
def test_opting_out_is_seen_in_tags_and_captions_however_written(text):
    assert reason(tags=[{"name": text}]) == "opt-out tag"
    assert reason(caption=f"<p>{text}</p>") == "opt-out tag"


@pytest.mark.parametrize("text", ["naoai", "AI", "noair", "piano aim"])
def test_other_words_are_no_opting_out(text):
    assert reason(tags=[{"name": text}], caption=f"<p>{text}</p>") is None


def test_an_old_answer_without_ai_type_is_taken():
    assert reason(illust_ai_type=0) is None


def test_bookmarks_are_counted():
    assert reason(filters.Filters(min_bookmarks=9)) is None
    assert reason(filters.Filters(min_bookmarks=10)) == "few bookmarks"


def test_authors_and_works_are_left_out_by_id():
    by_user = filters.Filters(opt_out_users=frozenset({7}))
    by_work = filters.Filters(opt_out_works=frozenset({123}))
    assert reason(by_user) == reason(by_work) == "opt-out list"
    assert reason(by_user, user={"id": 8}) is reason(by_work, id=124) is None
    assert reason(by_user, user={}) is None  # nobody knows whose it is


def test_what_the_site_does_not_show_is_gone_or_restricted():
    assert reason(user={"id": 0}) == "gone"
    assert reason(visible=False) == "restricted"


def test_all_pages_or_the_first():
    work = works.parse(single(meta_pages=[{"image_urls": {"large": "l"}}] * 3))
    assert DEFAULT.num_pages(work) == 1
    assert filters.Filters(all_pages=True).num_pages(work) == 3


def test_filters_are_the_same_after_json():
    wanted = filters.Filters(
        allow_ai=True, types=("manga",), opt_out_users=frozenset({3, 1})
    )
    assert filters.from_json(filters.to_json(wanted)) == wanted
    assert filters.to_json(wanted)["opt_out_users"] == [1, 3]


def test_a_file_of_ids(tmp_path):
    path = tmp_path / "ids.txt"
    path.write_text("# asked by mail\nuser 12\n\nwork 34  # and this\nuser 5\n")
    assert filters.read_opt_out_ids(path) == ({12, 5}, {34})
    path.write_text("user 12\n34\n")
    with pytest.raises(ValueError, match="line 2: '34' is neither"):
        filters.read_opt_out_ids(path)
