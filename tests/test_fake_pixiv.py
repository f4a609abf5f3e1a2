"""The fake site, asked as a plain client asks it."""

import datetime
import io
import itertools
import socket

import crawl_folders
import httpx
import pytest
from PIL import Image

from mlgcn_jax.fake_pixiv import faults, handler, server, world

REFERER = {"Referer": handler.REFERER}


def token(site: server.FakePixiv) -> dict[str, str]:
    form = {"refresh_token": site.refresh_token, "grant_type": "refresh_token"}
    answer = httpx.post(f"{site.url}/auth/token", data=form).json()
    return {"Authorization": f"Bearer {answer['response']['access_token']}"}


def search(site: server.FakePixiv, headers, **query) -> httpx.Response:
    query = {"search_target": "exact_match_for_tags", **query}
    url = f"{site.url}/v1/search/illust"
    return httpx.get(url, params=query, headers=headers)


def test_a_search_shows_each_work_of_a_window_once_and_newest_first():
    with server.FakePixiv(world.made_up(200, tags=("猫耳", "メイド"))) as site:
        headers = token(site)
        window = {"start_date": "2020-01-01", "end_date": "2020-12-30"}
        found = []
        for offset in itertools.count(step=30):
            page = search(site, headers, word="メイド", offset=offset, **window).json()
            found += page["illusts"]
            if page["next_url"] is None:
                break
            assert f"offset={offset + 30}" in page["next_url"]
        days = [work["create_date"][:10] for work in found]
        expected = [
            work
            for work in site.world.works.values()
            if datetime.date(2020, 1, 1)
            <= work.created.date()
            <= datetime.date(2020, 12, 30)
        ]
        assert len(found) == len(expected) > 20
        assert {work["id"] for work in found} == {work.id for work in expected}
        assert days == sorted(days, reverse=True)
        assert search(site, headers, word="剣").json()["illusts"] == []


def test_a_one_sided_window_shows_a_year_and_the_offset_has_a_cap():
    with server.FakePixiv(world.made_up(600, days=3 * 365), offset_cap=90) as site:
        headers = token(site)
        sizes = [
            len(search(site, headers, word="猫耳", offset=o, **w).json()["illusts"])
            for w in ({"end_date": "2021-12-31"},)
            for o in (0, 30, 60, 90)
        ]
        assert sizes == [30, 30, 30, 30]
        refused = search(site, headers, word="猫耳", offset=91, end_date="2021-12-31")
        assert refused.status_code == 400
        assert "Offset must be no more than" in refused.json()["error"]["message"]
        year = search(
            site, headers, word="猫耳", end_date="2021-12-31", sort="date_asc"
        )
        assert year.json()["illusts"][0]["create_date"] >= "2020-12-31"


def test_pictures_need_a_referer_and_change_their_address_when_revised(tmp_path):
    folder = crawl_folders.make_crawl_folder(tmp_path / "crawl", num_works=5)
    with server.FakePixiv(world.from_folder(folder)) as site:
        work = next(iter(site.world.works.values()))
        address = work.to_json(site.url)["image_urls"]["large"]
        assert httpx.get(address).status_code == 403
        picture = httpx.get(address, headers=REFERER)
        assert picture.content == work.pictures[0].read_bytes()
        Image.open(io.BytesIO(picture.content)).load()
        work.revision += 1
        assert httpx.get(address, headers=REFERER).status_code == 404
        headers = token(site)
        detail = httpx.get(
            f"{site.url}/v1/illust/detail?illust_id={work.id}", headers=headers
        )
        address = detail.json()["illust"]["image_urls"]["large"]
        assert httpx.get(address, headers=REFERER).status_code == 200


def test_tokens_expire_and_are_refused():
    with server.FakePixiv(world.made_up(5), calls_per_token=2) as site:
        headers = token(site)
        statuses = [search(site, headers, word="猫耳").status_code for _ in range(3)]
        assert statuses == [200, 200, 400]
        assert search(site, token(site), word="猫耳").status_code == 200
        assert site.num_tokens == 2
        wrong = httpx.post(f"{site.url}/auth/token", data={"refresh_token": "x"})
        assert wrong.status_code == 400
        assert wrong.json()["errors"]["system"]["message"] == "Invalid refresh token"


@pytest.mark.parametrize(
    ("effect", "raises"),
    [
        ("truncated", httpx.RemoteProtocolError),
        ("reset", (httpx.ReadError, httpx.RemoteProtocolError)),
    ],
)
def test_connections_break_as_the_script_says(effect, raises):
    works = world.made_up(1)
    (work,) = works.works.values()
    script = [faults.Fault("image", effect, calls={2})]
    with server.FakePixiv(works, script=script) as site:
        address = work.to_json(site.url)["image_urls"]["large"]
        assert httpx.get(address, headers=REFERER).status_code == 200
        with pytest.raises(raises):
            httpx.get(address, headers=REFERER)
        assert httpx.get(address, headers=REFERER).status_code == 200
        statuses = [r.status for r in site.requests if r.endpoint == "image"]
        assert statuses == [200, 0, 200]


def test_a_drip_never_stops_by_itself():
    works = world.made_up(1)
    (work,) = works.works.values()
    script = [faults.Fault("image", "drip")]
    with server.FakePixiv(works, script=script) as site:
        address = work.to_json(site.url)["image_urls"]["large"]
        with httpx.stream("GET", address, headers=REFERER, timeout=1) as answer:
            parts = answer.iter_raw()
            assert len([next(parts) for _ in range(8)]) == 8


def test_the_site_is_on_this_machine_alone():
    with server.FakePixiv(world.made_up(1)) as site:
        host, port = site.url.removeprefix("http://").split(":")
        assert host == "127.0.0.1"
        with socket.create_connection((host, int(port))):
            pass
