"""Access tokens: short-lived, got with the refresh token, shared by all threads."""

import datetime
import hashlib
import json
import threading
import time

from mlgcn_jax.crawl.client import channels, credentials, retries, site

# The API answers the site's own app only.
APP_HEADERS = {
    "User-Agent": "PixivIOSApp/7.19.1 (iOS 16.7.2; iPhone12,8)",
    "App-OS": "ios",
    "App-OS-Version": "16.7.2",
    "App-Version": "7.19.1",
    "Accept-Language": "en-us",
}
_SPARE_S = 60.0  # a token is renewed so long before it expires


class RefusedError(ValueError):
    """The site takes the account's refresh token, or the client, no longer."""


class AccessTokens:
    """The current access token, and how it is renewed: once, whoever sees it expire."""

    def __init__(
        self,
        where: site.Site,
        secrets: credentials.Credentials,
        channel: channels.Channel,
        retrier: retries.Retrier,
    ):
        """Asks for nothing yet."""
        self._url = f"{where.oauth_url.rstrip('/')}/auth/token"
        self._secrets = secrets
        self._channel = channel
        self._retrier = retrier
        self._lock = threading.Lock()
        self._token = ""
        self._expires = time.monotonic()
        self._is_dead = False  # then it is not asked again, by no thread

    def get(self, *, refused: str = "") -> str:
        """Returns a token that is good as far as one can know.

        Args:
            refused: One that the API has just refused; it is not returned again.

        Raises:
            RefusedError: The refresh token is dead.
            GaveUpError: The token server does not answer as it should.
        """
        with self._lock:
            if self._is_dead:
                raise self._refusal()
            expired = time.monotonic() > self._expires
            if expired or self._token in ("", refused):
                self._renew()
            return self._token

    def _renew(self) -> None:
        answer = self._retrier.call(self._ask)
        self._token = answer["access_token"]
        lifetime_s = answer.get("expires_in")
        lifetime_s = lifetime_s if isinstance(lifetime_s, int) else 3600
        # However short it lives, it is good for the request that asked for it.
        self._expires = time.monotonic() + max(lifetime_s - _SPARE_S, lifetime_s / 2)
        refresh_token = answer.get("refresh_token")
        if refresh_token and refresh_token != self._secrets.refresh_token:
            self._secrets.keep(refresh_token)

    def _ask(self) -> dict:
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00")
        signed = (now + self._secrets.hash_secret).encode()
        answer = self._channel.send(
            "POST",
            self._url,
            headers={
                **APP_HEADERS,
                "X-Client-Time": now,
                "X-Client-Hash": hashlib.md5(signed).hexdigest(),
            },
            data={
                "client_id": self._secrets.client_id,
                "client_secret": self._secrets.client_secret,
                "grant_type": "refresh_token",
                "refresh_token": self._secrets.refresh_token,
                "get_secure_url": "1",
            },
        )
        try:
            content = json.loads(answer.content)
        except (ValueError, RecursionError):
            raise retries.RetryableError("token server: not JSON") from None
        if isinstance(content, dict) and "error" in content:
            self._is_dead = True
            raise self._refusal()
        token = content.get("response", content) if isinstance(content, dict) else {}
        if not isinstance(token, dict) or not _is_token(token.get("access_token")):
            raise retries.RetryableError("token server: no access token")
        if not _is_token(token.get("refresh_token", "-")):
            raise retries.RetryableError("token server: no refresh token")
        return token

    def _refusal(self) -> RefusedError:
        return RefusedError(
            "the site refuses the refresh token (or the OAuth client); get a new one "
            f"and set PIXIV_REFRESH_TOKEN, and delete {self._secrets.token_file} if "
            "there is one (docs/crawling.md)"
        )


def _is_token(value: object) -> bool:
    return (
        isinstance(value, str)
        and value.isascii()
        and value.isprintable()
        and value != ""
        and " " not in value
    )
