"""What goes wrong, and when: rules of a script that the fake site follows."""

import dataclasses
import threading
from collections.abc import Container, Sequence
from typing import Literal

Endpoint = Literal["token", "search", "detail", "image"]
Effect = Literal[
    "429 seconds",  # Too Many Requests, with a Retry-After in seconds
    "429 date",  # and with a date
    "rate limit",  # 403 with the text of the app API
    "server error",  # 500
    "html",  # 200 with a page for people
    "truncated",  # fewer bytes than Content-Length says
    "garbage",  # as many, but no picture and no JSON
    "cut",  # a picture cut short, with the right Content-Length
    "drip",  # a byte now and then
    "drip of headers",
    "endless",  # no Content-Length and no end
    "reset",  # the connection is torn down in the middle
    "redirect",  # to another host
    "expired",  # the access token is good no longer
    "dead token",  # the refresh token neither
]


@dataclasses.dataclass
class Fault:
    """A rule.

    Attributes:
        endpoint: Of the requests that it is for.
        effect: What happens instead of an answer.
        calls: Which of them, counted from 1; None for all.
        work_id: Only those of this work; None for all.
        times: How often at most.
    """

    endpoint: Endpoint
    effect: Effect
    calls: Container[int] | None = None
    work_id: int | None = None
    times: int | None = None


class Script:
    """The rules, and what of them has happened."""

    def __init__(self, faults: Sequence[Fault] = ()):
        """Begins to count."""
        self._faults = list(faults)
        self._calls: dict[str, int] = {}
        self._happened = [0] * len(self._faults)
        self._lock = threading.Lock()

    def next(self, endpoint: Endpoint, work_id: int | None) -> Effect | None:
        """Returns what goes wrong with this request; None for nothing."""
        with self._lock:
            call = self._calls[endpoint] = self._calls.get(endpoint, 0) + 1
            for index, fault in enumerate(self._faults):
                if (
                    fault.endpoint == endpoint
                    and (fault.calls is None or call in fault.calls)
                    and fault.work_id in (None, work_id)
                    and (fault.times is None or self._happened[index] < fault.times)
                ):
                    self._happened[index] += 1
                    return fault.effect
        return None
