"""One picture: asked for, and checked to the last pixel."""

import dataclasses
import hashlib

from mlgcn_jax.crawl.client import channels, retries
from mlgcn_jax.data import images

# The image server refuses requests that do not seem to come from the app.
_HEADERS = {
    "Referer": "https://app-api.pixiv.net/",
    "User-Agent": "PixivIOSApp/7.19.1 (iOS 16.7.2; iPhone12,8)",
    "Accept-Encoding": "identity",  # so that Content-Length counts what is read
}


class NotFoundError(Exception):
    """There is no picture at this URL (any more)."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture file that decodes whole.

    Attributes:
        content: The file.
        sha256: Of it, in hexadecimal.
        suffix: That of its format.
        width: In pixels.
        height: In pixels.
    """

    content: bytes
    sha256: str
    suffix: str
    width: int
    height: int


def download(url: str, channel: channels.Channel) -> Picture:
    """Returns the picture at a URL, after one attempt.

    Raises:
        NotFoundError: There is none.
        UnusableSizeError: It is sound, but too small or too large.
        RetryableError: It did not come, or came damaged, or as something else.
    """
    answer = channel.send("GET", url, headers=_HEADERS)
    if answer.status in (404, 410):
        raise NotFoundError
    if answer.status != 200:
        raise retries.RetryableError(f"HTTP {answer.status}")
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not kind.startswith("image/"):
        raise retries.RetryableError(f"{kind[:40] or 'nothing'} instead of a picture")
    try:
        found = images.inspect(answer.content)
    except images.UnusableSizeError:
        raise
    except images.ImageError as error:
        raise retries.RetryableError(f"damaged picture: {error}") from None
    return Picture(
        content=answer.content,
        sha256=hashlib.sha256(answer.content).hexdigest(),
        suffix=found.suffix,
        width=found.width,
        height=found.height,
    )
