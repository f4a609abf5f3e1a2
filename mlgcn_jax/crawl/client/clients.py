"""Everything that talks to the site, over one pool of connections."""

import contextlib
import dataclasses
import logging
from collections.abc import Iterator

import httpx

from mlgcn_jax.crawl.client import (
    api,
    channels,
    credentials,
    pace,
    retries,
    site,
    stopping,
    tokens,
)

_MAX_API_BYTES = 16 * 2**20
_MAX_PICTURE_BYTES = 64 * 2**20  # the site takes uploads of 32 MB


@dataclasses.dataclass(frozen=True)
class Manners:
    """How a crawl behaves; the defaults are careful ones.

    Attributes:
        api_interval_s: Seconds between two requests to the API.
        image_interval_s: Seconds between two pictures.
        connections: How many pictures are under way at the same time.
        daily_cap: Most requests a day, API and pictures together; None is no limit.
        api_attempts: How often a request to the API is tried.
        picture_attempts: How often a picture is tried.
        first_wait_s: Pause after a first failure; it doubles with each further one.
        deadline_s: For one answer.
        rate_limit_pause_s: How long nothing is sent after "Rate Limit".
    """

    api_interval_s: float = 1.5
    image_interval_s: float = 1.0
    connections: int = 4
    daily_cap: int | None = None
    api_attempts: int = 6
    picture_attempts: int = 4
    first_wait_s: float = 1.0
    deadline_s: float = 60.0
    rate_limit_pause_s: float = 300.0


@dataclasses.dataclass(frozen=True)
class Client:
    """The open connections.

    Attributes:
        site: Where they lead.
        api: Searches and works.
        pictures: The channel of pictures.
        picture_retrier: The budget of a picture.
    """

    site: site.Site
    api: api.Api
    pictures: channels.Channel
    picture_retrier: retries.Retrier


@contextlib.contextmanager
def connect(
    where: site.Site,
    secrets: credentials.Credentials,
    manners: Manners,
    daily: pace.DailyCount,
    stop: stopping.Stop,
) -> Iterator[Client]:
    """Yields a client; nothing is sent before it is asked something."""
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every request

    def make_channel(interval_s: float, max_bytes: int) -> channels.Channel:
        return channels.Channel(
            http=http,
            pacer=pace.Pacer(interval_s, sleep=stop.sleep),
            daily=daily,
            deadline_s=manners.deadline_s,
            max_bytes=max_bytes,
            rate_limit_pause_s=manners.rate_limit_pause_s,
        )

    def make_retrier(attempts: int) -> retries.Retrier:
        return retries.Retrier(
            attempts, sleep=stop.sleep, first_wait_s=manners.first_wait_s
        )

    limits = httpx.Limits(max_connections=manners.connections + 1)
    timeout = httpx.Timeout(min(10.0, manners.deadline_s), pool=None)
    # Requests to this machine take no proxy, whatever the environment says.
    trust_env = not where.is_local()
    with httpx.Client(limits=limits, timeout=timeout, trust_env=trust_env) as http:
        to_api = make_channel(manners.api_interval_s, _MAX_API_BYTES)
        api_retrier = make_retrier(manners.api_attempts)
        access = tokens.AccessTokens(where, secrets, to_api, api_retrier)
        yield Client(
            site=where,
            api=api.Api(where, to_api, access, api_retrier),
            pictures=make_channel(manners.image_interval_s, _MAX_PICTURE_BYTES),
            picture_retrier=make_retrier(manners.picture_attempts),
        )
