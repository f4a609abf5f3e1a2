"""One request: paced, counted, bounded in time and size, and its answer judged.

What is the same for the API, its tokens and the pictures. Nothing here follows a
redirect, and no error shows an address or a header.
"""

import dataclasses
from collections.abc import Mapping

import httpx

from mlgcn_jax.crawl.client import deadlines, pace, retries

_RATE_LIMIT = b"Rate Limit"


@dataclasses.dataclass(frozen=True)
class Answer:
    """An answer, read whole.

    Attributes:
        status: HTTP status, neither 3xx, 429 nor 5xx.
        headers: As sent; names in any case.
        content: The body.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclasses.dataclass(frozen=True)
class Channel:
    """Requests of one kind, sent by any number of threads.

    Attributes:
        http: Shared by all kinds: one pool of connections.
        pacer: When the next one may go out.
        daily: How many may go out in a day.
        deadline_s: For one answer, from the request to the last byte, however steadily
            it drips.
        max_bytes: Longest answer.
        rate_limit_pause_s: How long nothing is sent once the site says that it was too
            much, where it does not say how long.
    """

    http: httpx.Client
    pacer: pace.Pacer
    daily: pace.DailyCount
    deadline_s: float
    max_bytes: int
    rate_limit_pause_s: float

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        params: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
    ) -> Answer:
        """Returns the answer to one attempt, once the pace allows it.

        Raises:
            RetryableError: There is none, or it says that the site is busy, broken or
                somewhere else.
            DailyCapError: No more today.
            StoppedError: The crawl ends.
        """
        self.pacer.wait()
        self.daily.take()
        deadlines.begin(self.deadline_s)
        try:
            with self.http.stream(
                method,
                url,
                headers=headers,
                params=params,
                data=data,
                extensions={"trace": deadlines.bound_reads},
            ) as response:
                answer = Answer(
                    response.status_code, response.headers, self._read(response)
                )
        except httpx.TimeoutException as error:
            late = f"took more than {self.deadline_s:g} s"
            reason = late if deadlines.is_over() else type(error).__name__
            raise retries.RetryableError(reason) from None
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise retries.RetryableError(type(error).__name__) from None
        except httpx.InvalidURL:
            raise retries.RetryableError("not a URL") from None
        self._check(answer)
        return answer

    def _read(self, response: httpx.Response) -> bytes:
        content = bytearray()
        for chunk in response.iter_bytes():
            content += chunk
            if len(content) > self.max_bytes:
                raise retries.RetryableError(f"more than {self.max_bytes} bytes")
        length = response.headers.get("content-length", "")
        if length.isdigit() and int(length) != response.num_bytes_downloaded:
            raise retries.RetryableError("shorter than its Content-Length")
        return bytes(content)

    def _check(self, answer: Answer) -> None:
        wait_s = retries.retry_after_s(answer.headers)
        if _is_rate_limit(answer):
            self.pacer.slow_down(self.rate_limit_pause_s if wait_s is None else wait_s)
            raise retries.RetryableError("rate limit")
        if answer.status >= 500:
            self.pacer.pause(wait_s or 0.0)
            raise retries.RetryableError(f"HTTP {answer.status}")
        if 300 <= answer.status < 400:
            raise retries.RetryableError(f"HTTP {answer.status}, a redirect")


def _is_rate_limit(answer: Answer) -> bool:
    # A page of works is long, and may well hold a work of that title.
    is_message = answer.status >= 400 or len(answer.content) < 1000
    return answer.status == 429 or (is_message and _RATE_LIMIT in answer.content)
