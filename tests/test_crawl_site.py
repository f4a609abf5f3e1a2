"""Where a crawl may send anything: no secrets in the clear, no foreign hosts."""

import pytest

from mlgcn_jax.crawl.client import site

PIXIV = site.Site()
LOCAL = site.Site("http://127.0.0.1:8000", "http://127.0.0.1:8001")


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://i.pximg.net/c/600x1200_90/img-master/1_p0_master1200.jpg", True),
        ("https://i.pximg.net:443/1.jpg", True),
        ("http://i.pximg.net/1.jpg", False),
        ("https://i.pximg.net:8443/1.jpg", False),
        ("https://i.pximg.net.example.com/1.jpg", False),
        ("https://i.pximg.net@example.com/1.jpg", False),
        ("https://user@i.pximg.net/1.jpg", False),
        ("https://s.pximg.net/common/images/limit_unknown_360.png", False),
        ("http://127.0.0.1:8000/1.jpg", False),
        ("http://169.254.169.254/latest/meta-data", False),
        ("file:///etc/passwd", False),
        ("//i.pximg.net/1.jpg", False),
        ("https://[::1/1.jpg", False),
        ("", False),
    ],
)
def test_pictures_come_from_the_image_host_alone(url, allowed):
    assert PIXIV.may_hold_pictures(url) is allowed


def test_pictures_of_a_local_site_come_from_it_alone():
    assert LOCAL.may_hold_pictures("http://127.0.0.1:8000/1.jpg")
    assert not LOCAL.may_hold_pictures("http://127.0.0.1:8001/1.jpg")
    assert not LOCAL.may_hold_pictures("https://i.pximg.net/1.jpg")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback(host):
    assert site.is_loopback(host)


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "0.0.0.0", "localhost.example.com", "127.0.0.1.nip.io", ""]
)
def test_not_loopback(host):
    assert not site.is_loopback(host)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://app-api.pixiv.net", "unencrypted"),
        ("app-api.pixiv.net", "no address of a server"),
        ("https://app-api.pixiv.net/v1", "no address of a server"),
        ("ftp://127.0.0.1", "no address of a server"),
    ],
)
def test_an_address_that_cannot_be_used_is_told(url, message):
    with pytest.raises(ValueError, match=message):
        site.Site(api_url=url)


def test_terms_must_be_acknowledged_unless_all_is_local():
    site.check_terms(LOCAL, acknowledged=False)
    site.check_terms(PIXIV, acknowledged=True)
    half = site.Site("http://127.0.0.1:8000", site.PIXIV_OAUTH)
    for where in (PIXIV, half):
        with pytest.raises(ValueError, match="--acknowledge_terms"):
            site.check_terms(where, acknowledged=False)
