"""What the usual file names of crawlers say of a picture."""

import os
import re
from typing import NamedTuple

# 123_p0.jpg, 123_p0_master1200.jpg, and with the hash that Pixiv's names have had
# since 2026.
_PIXIV = re.compile(r"(\d+)(?:-[0-9a-f]{32})?_p(\d+)(?!\d)", re.ASCII)
# danbooru_123_<md5>.jpg, as gallery-dl names the pictures of boorus.
_BOORU = re.compile(r"([a-z0-9]+)_(\d+)_[0-9a-f]{32}(?![0-9a-f])", re.ASCII)
_MAX_DIGITS = 9  # of a page, which is stored as int32

PIXIV = "pixiv"


class Name(NamedTuple):
    """Site, number of the work on it, and page (from 0) in the name of a file."""

    site: str
    number: str
    page: int


def parse(file: str) -> Name | None:
    """Returns what a file name says; None where it is of no known form."""
    base = os.path.basename(file)
    if (match := _PIXIV.match(base)) and len(match[2]) <= _MAX_DIGITS:
        return Name(PIXIV, match[1], int(match[2]))
    if match := _BOORU.match(base):
        return Name(match[1], match[2], 0)
    return None


def work_id(site: str, number: str) -> str:
    """Returns the id of a work, which no two sites share.

    Pixiv's numbers stand for themselves, as in the crawl folders of mlgcn-jax.
    """
    return number if site == PIXIV else f"{site}-{number}"
