"""24,000 works of one tag, a site that cuts windows and offsets, and what is found."""

import datetime

import crawl_kills
import crawl_runs
import crawl_speed
import httpx

from mlgcn_jax.fake_pixiv import state

NUM_WORKS = 24_000
TAG = "猫耳"


def one_sided_crawl(url: str) -> set[int]:
    """What the usual trick finds: the end is moved to the last day seen, no start."""
    form = {"refresh_token": state.REFRESH_TOKEN, "grant_type": "refresh_token"}
    token = httpx.post(f"{url}/auth/token", data=form).json()["access_token"]
    found: set[int] = set()
    end, offset = str(crawl_runs.LAST), 0
    with httpx.Client(headers={"Authorization": f"Bearer {token}"}) as client:
        while True:
            page = client.get(
                f"{url}/v1/search/illust",
                params={"word": TAG, "end_date": end, "offset": offset},
            ).json()
            found |= {work["id"] for work in page["illusts"]}
            offset += 30
            if page["next_url"] is None:
                return found
            if offset > state.OFFSET_CAP:
                last = page["illusts"][-1]["create_date"][:10]
                if last == end:
                    return found
                end, offset = last, 0


def test_all_works_are_found_where_moving_the_end_loses_most(tmp_path):
    # In processes of their own: here every call has its types checked.
    with crawl_speed.site(f"--works={NUM_WORKS}") as url:
        assert len(one_sided_crawl(url)) < NUM_WORKS / 2
        crawl_speed.crawl("list", tmp_path, url, f"--tags={TAG}")
    (found,) = crawl_runs.rows(tmp_path, "SELECT count(*) FROM work")
    assert found == (NUM_WORKS,)
    spans = crawl_runs.rows(tmp_path, "SELECT first, last FROM window")
    days = [
        (datetime.date.fromisoformat(last) - datetime.date.fromisoformat(first)).days
        for first, last in spans
    ]
    assert max(days) < 360


def test_a_crawl_that_is_killed_ends_as_one_that_is_not(tmp_path):
    crawl_kills.run(tmp_path, kills=4, seed=0, num_works=200)
