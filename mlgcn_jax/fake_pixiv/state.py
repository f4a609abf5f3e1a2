"""What the fake site has and remembers: works, tokens, requests. Threads share it."""

import dataclasses
import json
import pathlib
import secrets
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from mlgcn_jax.fake_pixiv import faults, world

PAGE_SIZE = 30
OFFSET_CAP = 5_000
REFRESH_TOKEN = "refresh-token-of-the-fake-site"


class Request(NamedTuple):
    """A line of the log.

    Attributes:
        endpoint: token, search, detail or image.
        about: Tag and window and offset, or work id, or work id and page.
        status: That was sent; 0 where a fault took its place.
        time: On a monotonic clock, s.
    """

    endpoint: str
    about: str
    status: int
    time: float


@dataclasses.dataclass
class SiteState:
    """All but the connections.

    Attributes:
        world: Its works; may be changed while it runs.
        script: What goes wrong.
        latency_s: How long every request takes at least.
        calls_per_token: After so many calls an access token has expired.
        rotates_tokens: A refresh token can be used once; a new one comes back.
        page_size: Works on a page; the pages of the real one are short at times.
        repeats_next_url: The last page names itself as the next one.
        offset_cap: The largest offset.
        log: File to which every request is added as a JSON line.
        port: On loopback; 0 for any that is free.
        url: Where it is, once the port is known.
        requests: All that were answered, in order.
        refresh_token: The one that is good.
        num_tokens: How often an access token was given.
    """

    world: world.World
    _: dataclasses.KW_ONLY
    script: Sequence[faults.Fault] = ()
    latency_s: float = 0.0
    calls_per_token: int | None = None
    rotates_tokens: bool = False
    page_size: int = PAGE_SIZE
    repeats_next_url: bool = False
    offset_cap: int = OFFSET_CAP
    log: pathlib.Path | None = None
    port: int = 0

    def __post_init__(self) -> None:
        """Begins with no token given and no request answered."""
        self.url = ""
        self.requests: list[Request] = []
        self.refresh_token = REFRESH_TOKEN
        self.num_tokens = 0
        self._faults = faults.Script(self.script)
        self._calls_of_token: dict[str, int] = {}
        self._lock = threading.Lock()
        if self.log is not None:
            self.log.touch()  # whether it can be written shows now

    def next_fault(
        self, endpoint: faults.Endpoint, work_id: int | None
    ) -> faults.Effect | None:
        """Returns what goes wrong with this request; None for nothing."""
        return self._faults.next(endpoint, work_id)

    def record(self, endpoint: str, about: str, status: int) -> None:
        """Adds a request to the log."""
        request = Request(endpoint, about, status, time.monotonic())
        with self._lock:
            self.requests.append(request)
            if self.log is not None:
                with self.log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(request._asdict()) + "\n")

    def give_token(self, refresh_token: str) -> dict[str, Any] | None:
        """Returns a new access token; None where the refresh token is not good."""
        with self._lock:
            if refresh_token != self.refresh_token:
                return None
            if self.rotates_tokens:
                self.refresh_token = secrets.token_urlsafe(32)
            token = secrets.token_urlsafe(32)
            self._calls_of_token[token] = 0
            self.num_tokens += 1
            return {
                "access_token": token,
                "expires_in": 3600,
                "token_type": "bearer",
                "scope": "",
                "refresh_token": self.refresh_token,
                "user": {"id": "1", "name": "crawler", "account": "crawler"},
            }

    def takes(self, authorization: str) -> bool:
        """Whether an Authorization header is good; counts the call."""
        token = authorization.removeprefix("Bearer ")
        with self._lock:
            if token not in self._calls_of_token:
                return False
            self._calls_of_token[token] += 1
            limit = self.calls_per_token
            return limit is None or self._calls_of_token[token] <= limit
