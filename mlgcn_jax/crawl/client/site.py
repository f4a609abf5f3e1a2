"""Where the site is, and which addresses a crawl may ask for."""

import dataclasses
import ipaddress

import httpx

PIXIV_API = "https://app-api.pixiv.net"
PIXIV_OAUTH = "https://oauth.secure.pixiv.net"
_IMAGE_ORIGIN = "https://i.pximg.net"


@dataclasses.dataclass(frozen=True)
class Site:
    """Pixiv, or a server on this machine that stands for it.

    Attributes:
        api_url: Scheme, host and port of the API.
        oauth_url: The same of the server that gives tokens.

    Raises:
        ValueError: One of them is no such address, or would send secrets unencrypted.
    """

    api_url: str = PIXIV_API
    oauth_url: str = PIXIV_OAUTH

    def __post_init__(self) -> None:
        """Checks the addresses."""
        for url in (self.api_url, self.oauth_url):
            parsed = _parse(url)
            if parsed is None or parsed.raw_path not in (b"", b"/"):
                raise ValueError(
                    f"{url!r} is no address of a server; give scheme, host and port "
                    f"alone, as in {PIXIV_API}"
                )
            if parsed.scheme != "https" and not is_loopback(parsed.host):
                raise ValueError(
                    f"{url} would send tokens unencrypted; use https:// for any host "
                    "but this machine"
                )

    def is_local(self) -> bool:
        """Returns whether everything asked for is on this machine."""
        return all(
            is_loopback(httpx.URL(url).host) for url in (self.api_url, self.oauth_url)
        )

    def may_hold_pictures(self, url: str) -> bool:
        """Returns whether a picture's URL, which the site chose, may be followed."""
        parsed = _parse(url)
        if parsed is None or parsed.userinfo:
            return False
        api = httpx.URL(self.api_url)
        allowed = api if is_loopback(api.host) else httpx.URL(_IMAGE_ORIGIN)
        return _origin(parsed) == _origin(allowed)


def is_loopback(host: str) -> bool:
    """Returns whether a host name or address means this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_terms(site: Site, *, acknowledged: bool) -> None:
    """Raises ValueError where a site is asked whose terms were not acknowledged."""
    if not site.is_local() and not acknowledged:
        raise ValueError(
            f"{site.api_url} is a site of other people. Its terms restrict automatic "
            "collection, your account may be suspended, and the pictures stay their "
            "authors'; read docs/crawling.md and the terms, then give "
            "--acknowledge_terms"
        )


def _parse(url: str) -> httpx.URL | None:
    try:
        parsed = httpx.URL(url)
        usable = parsed.scheme in ("http", "https") and bool(parsed.host)
    except (httpx.InvalidURL, ValueError):
        return None
    return parsed if usable else None


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
