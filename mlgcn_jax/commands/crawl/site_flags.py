"""Flags of the verbs that ask the site: where it is, and how to behave there."""

import contextlib
import os
import pathlib
from collections.abc import Iterator

from absl import flags

from mlgcn_jax.commands.crawl import filter_flags
from mlgcn_jax.crawl import sessions
from mlgcn_jax.crawl.client import clients, credentials, site

flags.adopt_module_key_flags(filter_flags)

_MANNERS = clients.Manners()
_API_URL = flags.DEFINE_string("api_url", site.PIXIV_API, "The API.")
_OAUTH_URL = flags.DEFINE_string(
    "oauth_url", site.PIXIV_OAUTH, "The server that gives access tokens."
)
_ACKNOWLEDGE_TERMS = flags.DEFINE_boolean(
    "acknowledge_terms",
    False,
    "I have read the terms of the site and docs/crawling.md. Needed for every host "
    "that is not this machine.",
)
_TOKEN_FILE = flags.DEFINE_string(
    "token_file",
    None,
    "File (mode 0600) of the refresh token, where PIXIV_REFRESH_TOKEN is not to be "
    "used; a new one is kept there. FOLDER/refresh_token by default.",
)
_API_INTERVAL_S = flags.DEFINE_float(
    "api_interval_s",
    _MANNERS.api_interval_s,
    "Seconds between two requests to the API.",
    lower_bound=0,
)
_DAILY_CAP = flags.DEFINE_integer(
    "daily_cap",
    None,
    "Most requests a day (UTC), API and pictures together.",
    lower_bound=1,
)


@contextlib.contextmanager
def open_session(
    folder: pathlib.Path,
    verb: str,
    *,
    image_interval_s: float = _MANNERS.image_interval_s,
    connections: int = _MANNERS.connections,
) -> Iterator[sessions.Session]:
    """Yields the session that the flags describe.

    Raises:
        OSError: Another crawler is at work, or the folder cannot be written to.
        ValueError: Terms or credentials are missing, or the manifest is unusable.
    """
    changed_filters = filter_flags.changed()
    where = site.Site(_API_URL.value, _OAUTH_URL.value)
    site.check_terms(where, acknowledged=_ACKNOWLEDGE_TERMS.value)
    token_file = pathlib.Path(_TOKEN_FILE.value or folder / "refresh_token")
    secrets = credentials.read(os.environ, token_file.expanduser())
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            error.errno,
            f"{folder} cannot be made: {error.strerror}; name a folder in a place that "
            "can be written to",
        ) from error
    with sessions.open_session(
        folder,
        verb,
        where=where,
        secrets=secrets,
        manners=clients.Manners(
            api_interval_s=_API_INTERVAL_S.value,
            image_interval_s=image_interval_s,
            connections=connections,
            daily_cap=_DAILY_CAP.value,
        ),
        changed_filters=changed_filters,
    ) as session:
        yield session
