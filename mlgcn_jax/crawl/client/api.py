"""The site's API: pages of search results, and single works."""

import dataclasses
import json
import urllib.parse
from collections.abc import Mapping
from typing import Any

from mlgcn_jax.crawl.client import channels, retries, site, tokens

_LONGEST_QUERY = 8000  # characters of next_url


class OffsetCapError(Exception):
    """A search shows no works beyond this offset."""


class GoneError(Exception):
    """There is no such work (any more)."""


@dataclasses.dataclass(frozen=True)
class Page:
    """A page of search results.

    Attributes:
        works: As the site tells them, unchecked.
        next_query: What to ask for the next page; None where this is the last.
    """

    works: list[Any]
    next_query: dict[str, str] | None


class Api:
    """Asks the API, with a token that is renewed when it expires; threads may share."""

    def __init__(
        self,
        where: site.Site,
        channel: channels.Channel,
        access: tokens.AccessTokens,
        retrier: retries.Retrier,
    ):
        """Asks for nothing yet."""
        self._base_url = where.api_url.rstrip("/")
        self._channel = channel
        self._access = access
        self._retrier = retrier

    def search(self, query: Mapping[str, str]) -> Page:
        """Returns the page of results that a query asks for.

        Raises:
            OffsetCapError: Its offset is beyond what the site shows.
            GaveUpError: The budget is used up.
        """
        return self._retrier.call(lambda: self._search(query))

    def work(self, work_id: int) -> dict[str, Any]:
        """Returns the JSON of a work as it is now.

        Raises:
            GoneError: There is none.
            GaveUpError: The budget is used up.
        """
        return self._retrier.call(lambda: self._work(work_id))

    def _search(self, query: Mapping[str, str]) -> Page:
        status, content = self._get("/v1/search/illust", query)
        if status == 400 and "offset" in _error_text(content).lower():
            raise OffsetCapError
        works = content.get("illusts")
        if status != 200 or not isinstance(works, list):
            raise retries.RetryableError(f"API: HTTP {status} without works")
        return Page(works, _parse_next_url(content.get("next_url")))

    def _work(self, work_id: int) -> dict[str, Any]:
        query = {"illust_id": str(work_id)}
        status, content = self._get("/v1/illust/detail", query)
        if status == 404:
            raise GoneError
        work = content.get("illust")
        if status != 200 or not isinstance(work, dict):
            raise retries.RetryableError(f"API: HTTP {status} without a work")
        return work

    def _get(self, path: str, query: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        token = self._access.get()
        answer = self._send(path, query, token)
        if _is_refused_token(answer):
            answer = self._send(path, query, self._access.get(refused=token))
        if _is_refused_token(answer):
            raise retries.RetryableError("API: fresh access token refused")
        try:
            content = json.loads(answer.content)
        except (ValueError, RecursionError):
            content = None
        if isinstance(content, dict):
            return answer.status, content
        if answer.status == 404:
            return 404, {}
        raise retries.RetryableError(f"API: HTTP {answer.status}, not JSON")

    def _send(self, path: str, query: Mapping[str, str], token: str) -> channels.Answer:
        headers = {**tokens.APP_HEADERS, "Authorization": f"Bearer {token}"}
        url = self._base_url + path
        return self._channel.send("GET", url, headers=headers, params=query)


def _is_refused_token(answer: channels.Answer) -> bool:
    return answer.status in (400, 401, 403) and (
        b"invalid_grant" in answer.content or b"OAuth" in answer.content
    )


def _error_text(content: dict[str, Any]) -> str:
    error = content.get("error")
    return str(error.get("message")) if isinstance(error, dict) else ""


def _parse_next_url(url: Any) -> dict[str, str] | None:
    """Returns the query of a URL; where it leads is ours to say."""
    if url is None:
        return None
    if not isinstance(url, str) or len(url) > _LONGEST_QUERY:
        raise retries.RetryableError("API: next_url is no URL")
    try:
        query = urllib.parse.urlsplit(url).query
        return dict(urllib.parse.parse_qsl(query, errors="strict"))
    except ValueError:
        raise retries.RetryableError("API: next_url is no URL") from None
