"""Listing against the fake site: nothing is missed, nothing is asked for twice."""

import datetime
import json

import crawl_runs
import pytest

from mlgcn_jax.crawl import listing, sessions
from mlgcn_jax.crawl.client import pace, tokens
from mlgcn_jax.crawl.records import status
from mlgcn_jax.data import labels
from mlgcn_jax.fake_pixiv import faults, server, state, world

DAY = datetime.date(2020, 5, 17)


def ids(folder) -> set[int]:
    return {row[0] for row in crawl_runs.rows(folder, "SELECT id FROM work")}


def searches(site: server.FakePixiv) -> list[str]:
    return [
        r.about for r in site.requests if r.endpoint == "search" and r.status == 200
    ]


def test_all_works_are_found_and_owed(tmp_path):
    works = world.made_up(500)
    with server.FakePixiv(works) as site:
        assert crawl_runs.list_works(tmp_path, site.url) == 0
    assert ids(tmp_path) == set(works.works)
    assert crawl_runs.states(tmp_path) == {"owed": 500}
    assert len(searches(site)) == len(set(searches(site)))
    assert site.num_tokens == 1
    content = json.loads(
        crawl_runs.rows(tmp_path, "SELECT json FROM work LIMIT 1")[0][0]
    )
    assert content == works.works[content["id"]].to_json(site.url)  # verbatim


def test_where_the_offset_ends_windows_are_split(tmp_path):
    works = world.made_up(900, days=720)
    with server.FakePixiv(works, offset_cap=60) as site:
        crawl_runs.list_works(tmp_path, site.url)
    assert ids(tmp_path) == set(works.works)
    state = status.read(tmp_path)
    assert state["windows"]["split"] > 5 and not state["windows"]["overflow"]


def test_a_day_with_more_than_the_site_shows_is_an_overflow(tmp_path):
    start = datetime.datetime(2020, 5, 15, tzinfo=world.JST)
    many = world.made_up(150, first_day=start + datetime.timedelta(days=2), days=1)
    few = [
        world.FakeWork(id=n, user_id=5, created=start, tags=[("猫耳", "")])
        for n in range(1, 41)
    ]
    with server.FakePixiv(
        world.World([*many.works.values(), *few]), offset_cap=60
    ) as site:
        crawl_runs.list_works(tmp_path, site.url)
    (overflow,) = status.read(tmp_path)["overflows"]
    assert (overflow["tag"], overflow["first"]) == ("猫耳", DAY.isoformat())
    assert overflow["last"] == DAY.isoformat()
    assert overflow["works"] == 90  # offsets 0, 30, 60
    assert set(range(1, 41)) < ids(tmp_path)
    assert len(ids(tmp_path)) == 40 + 90


def test_a_work_with_two_tags_is_one_work_with_two_labels(tmp_path):
    works = world.made_up(70, tags=("猫耳", "メイド"))
    with server.FakePixiv(works) as site:
        crawl_runs.list_works(tmp_path, site.url, ["猫耳", "メイド", "制服"])
    found = status.read(tmp_path)
    assert found["works"] == found["pictures"]["owed"] == 70
    assert [found["labels"][name]["works"] for name in ("猫耳", "メイド", "制服")] == [
        *(70, 70, 0)
    ]


def test_names_and_aliases_of_a_label_are_searched(tmp_path):
    works = world.World(
        [*world.made_up(20, tags=("猫耳",)).works.values()]
        + [
            world.FakeWork(
                id=n,
                user_id=1,
                created=datetime.datetime(2021, 1, n, tzinfo=world.JST),
                tags=[("ネコミミ", "")],
            )
            for n in range(1, 11)
        ]
    )
    vocabulary = labels.Vocabulary(("cat_ears",), (("猫耳", "ネコミミ"),))
    with (
        server.FakePixiv(works) as site,
        crawl_runs.session(tmp_path, site.url, "list") as session,
    ):
        listing.add_searches(
            session.manifest,
            vocabulary,
            crawl_runs.FIRST,
            crawl_runs.LAST,
            target=listing.TARGETS[0],
            allow_ai=False,
        )
        listing.list_works(session)
    assert status.read(tmp_path)["labels"]["cat_ears"]["works"] == 30


def test_asked_again_nothing_is_left_to_ask(tmp_path):
    with server.FakePixiv(world.made_up(50)) as site:
        crawl_runs.list_works(tmp_path, site.url)
        before = len(site.requests)
        crawl_runs.list_works(tmp_path, site.url)
        assert len(site.requests) == before


def test_an_interrupted_list_goes_on_with_the_next_page(tmp_path, monkeypatch):
    """Interrupted at every transaction, before and after it is written."""
    works = world.made_up(300)
    save, rounds = sessions.runs.Run.save, 0

    def interrupt(self, **counts) -> None:
        save(self, **counts)
        if rounds % 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(sessions.runs.Run, "save", interrupt)
    with server.FakePixiv(works) as site:
        for rounds in range(1, 200):  # noqa: B007
            try:
                crawl_runs.list_works(tmp_path, site.url)
                break
            except KeyboardInterrupt:
                continue
    assert ids(tmp_path) == set(works.works)


def test_a_page_that_names_itself_as_the_next_is_the_last(tmp_path):
    works = world.made_up(65)
    with server.FakePixiv(works, repeats_next_url=True) as site:
        crawl_runs.list_works(tmp_path, site.url)
    assert ids(tmp_path) == set(works.works)
    assert status.read(tmp_path)["windows"]["open"] == 0


def test_short_pages_are_followed_by_their_next_url(tmp_path):
    works = world.made_up(100)
    with server.FakePixiv(works, page_size=7) as site:
        crawl_runs.list_works(tmp_path, site.url)
    assert ids(tmp_path) == set(works.works)


def test_malformed_works_are_counted_and_the_others_taken(tmp_path):
    works = world.made_up(40)
    broken = list(works.works.values())[:3]
    broken[0].changes["tags"] = None
    broken[1].changes["image_urls"] = world.Missing
    broken[1].changes["meta_single_page"] = world.Missing
    broken[2].changes["id"] = "none"
    with server.FakePixiv(works) as site:
        crawl_runs.list_works(tmp_path, site.url)
    assert len(ids(tmp_path)) == 37
    assert status.read(tmp_path)["malformed_works"] == 3


def test_what_is_left_out_is_counted_by_reason_and_can_be_taken_later(tmp_path):
    works = world.made_up(30)
    for number, work in enumerate(works.works.values()):
        work.changes["x_restrict"] = int(number < 10)
    with server.FakePixiv(works) as site:
        crawl_runs.list_works(tmp_path, site.url)
        found = status.read(tmp_path)
        assert found["excluded"] == {"R-18": 10}
        assert found["labels"]["猫耳"]["excluded"] == 10
        assert crawl_runs.states(tmp_path) == {"owed": 20}
        crawl_runs.list_works(tmp_path, site.url, allow_r18=True)
        assert crawl_runs.states(tmp_path) == {"owed": 30}
        crawl_runs.list_works(tmp_path, site.url)  # remembered
        assert crawl_runs.states(tmp_path) == {"owed": 30}
        crawl_runs.list_works(tmp_path, site.url, min_bookmarks=10**6)
        assert crawl_runs.states(tmp_path) == {}


def test_generated_works_are_not_asked_for_unless_they_are_wanted(tmp_path):
    works = world.made_up(20)
    for work in list(works.works.values())[:5]:
        work.changes["illust_ai_type"] = 2
    with server.FakePixiv(works) as site:
        crawl_runs.list_works(tmp_path, site.url)
        assert len(ids(tmp_path)) == 15
        crawl_runs.list_works(tmp_path, site.url, allow_ai=True)
        assert crawl_runs.states(tmp_path) == {"owed": 20}


@pytest.mark.parametrize(
    "effect",
    [
        *("429 seconds", "rate limit", "server error", "html"),
        *("truncated", "garbage", "drip", "reset", "redirect", "expired"),
    ],
)
def test_what_passes_is_tried_again(tmp_path, effect):
    works = world.made_up(100)
    script = [faults.Fault("search", effect, calls=[2, 5])]
    with server.FakePixiv(works, script=script) as site:
        assert crawl_runs.list_works(tmp_path, site.url) == 0
    assert ids(tmp_path) == set(works.works)


def test_a_search_that_fails_is_told_and_tried_by_the_next_run(tmp_path):
    works = world.made_up(100)
    script = [faults.Fault("search", "server error", calls=range(2, 5))]
    with server.FakePixiv(works, script=script) as site:
        assert crawl_runs.list_works(tmp_path, site.url) == 1
        (failed,) = status.read(tmp_path)["failed_windows"]
        assert failed["reason"] == "HTTP 500"
        assert crawl_runs.list_works(tmp_path, site.url) == 0
    assert ids(tmp_path) == set(works.works)


def test_a_site_that_is_down_ends_the_run(tmp_path):
    script = [faults.Fault("search", "server error")]
    with server.FakePixiv(world.made_up(10), script=script) as site:
        with pytest.raises(OSError, match=r"5 searches in a row failed.*HTTP 500"):
            crawl_runs.list_works(tmp_path, site.url)


def test_the_token_is_renewed_when_it_expires(tmp_path):
    works = world.made_up(300)
    with server.FakePixiv(works, calls_per_token=4) as site:
        crawl_runs.list_works(tmp_path, site.url)
        assert site.num_tokens == -(-len(searches(site)) // 4)
    assert ids(tmp_path) == set(works.works)


def test_a_new_refresh_token_is_kept_and_used(tmp_path):
    with server.FakePixiv(world.made_up(10), rotates_tokens=True) as site:
        crawl_runs.list_works(tmp_path, site.url)
        assert (tmp_path / "refresh_token").read_text().strip() == site.refresh_token
        crawl_runs.list_works(tmp_path, site.url, ["メイド"])
        assert site.num_tokens == 2


def test_a_dead_refresh_token_is_told_once_and_not_shown(tmp_path):
    script = [faults.Fault("token", "dead token")]
    with server.FakePixiv(world.made_up(10), script=script) as site:
        with pytest.raises(tokens.RefusedError, match="refresh token") as caught:
            crawl_runs.list_works(tmp_path, site.url)
        assert [r.endpoint for r in site.requests] == ["token"]
    assert state.REFRESH_TOKEN not in str(caught.value)


def test_the_daily_cap_holds_over_runs(tmp_path):
    manners = crawl_runs.MANNERS.__class__(
        **{**vars(crawl_runs.MANNERS), "daily_cap": 5}
    )
    with server.FakePixiv(world.made_up(100)) as site:
        for _ in range(2):
            with pytest.raises(pace.DailyCapError):
                crawl_runs.list_works(tmp_path, site.url, manners=manners)
        assert len(site.requests) == 5


def test_no_secret_is_in_the_folder(tmp_path):
    with server.FakePixiv(world.made_up(50)) as site:
        crawl_runs.list_works(tmp_path, site.url)
        given = list(site._calls_of_token)
    content = b"".join(path.read_bytes() for path in tmp_path.rglob("*"))
    for secret in (*crawl_runs.ENVIRONMENT.values(), *given):
        assert secret == "client" or secret.encode() not in content
