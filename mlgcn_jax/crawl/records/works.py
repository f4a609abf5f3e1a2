"""A work as the site's JSON tells it; all but id, tags and URLs may be absent."""

import dataclasses
import datetime
import re
from typing import Any

# Of pictures: long side up to 1200 pixels, or as uploaded.
SIZES = ("large", "original")
_MAX_ID = 2**63 - 1  # an integer of SQLite
# The site's notice in place of a picture that this account may not see.
_NOTICE = re.compile(r"/limit_[a-z_]+_\d+\.(?:png|jpg)$")


class MalformedError(ValueError):
    """The JSON tells of no work that could be fetched; says why."""


@dataclasses.dataclass(frozen=True)
class Work:
    """What a crawl uses of a work.

    Attributes:
        id: At least 1.
        user_id: None where unknown, 0 where the account is deleted.
        type: "illust", "manga" or "ugoira".
        title: As written.
        caption: HTML.
        tags: As written.
        translations: Tag -> what the site translates it to, where it does.
        urls: Of each page, one of SIZES -> URL; nothing here was checked.
        x_restrict: 0, 1 (R-18) or 2 (R-18G).
        ai_type: 0 (unknown), 1 (by a human) or 2 (generated).
        bookmarks: How many accounts keep it.
        is_hidden: A notice stands in place of its pictures.
    """

    id: int
    user_id: int | None
    type: str
    title: str
    caption: str
    tags: tuple[str, ...]
    translations: dict[str, str]
    urls: tuple[dict[str, str], ...]
    x_restrict: int
    ai_type: int
    bookmarks: int
    is_hidden: bool


def parse(content: Any) -> Work:
    """Returns the work in an object of `illusts`.

    Raises:
        MalformedError: It has no id or no URLs, or its tags are no list of names.
    """
    if not isinstance(content, dict):
        raise MalformedError("not an object")
    id_ = _whole(content.get("id"), 0)
    if not 1 <= id_ <= _MAX_ID:
        raise MalformedError("no id")
    urls = _urls(content)
    if not any(urls):
        raise MalformedError("no picture URL")
    user = content.get("user")
    user_id = _whole(user.get("id"), -1) if isinstance(user, dict) else -1
    hidden = any(_NOTICE.search(url) for page in urls for url in page.values())
    return Work(
        id=id_,
        user_id=user_id if 0 <= user_id <= _MAX_ID else None,
        type=_text(content.get("type")) or "illust",
        title=_text(content.get("title")),
        caption=_text(content.get("caption")),
        tags=_tags(content.get("tags")),
        translations=_translations(content["tags"]),
        urls=urls,
        x_restrict=_whole(content.get("x_restrict"), 0),
        ai_type=_whole(content.get("illust_ai_type"), 0),
        bookmarks=_whole(content.get("total_bookmarks"), 0),
        is_hidden=hidden or content.get("visible") is False,
    )


def is_notice(url: str) -> bool:
    """Returns whether a URL leads to the site's notice rather than to a picture."""
    return _NOTICE.search(url) is not None


def creation_day(content: Any) -> str | None:
    """Returns the day, YYYY-MM-DD in the site's time zone, on which a work appeared."""
    text = content.get("create_date") if isinstance(content, dict) else None
    try:
        return datetime.date.fromisoformat(str(text)[:10]).isoformat()
    except ValueError:
        return None


def _urls(content: dict[str, Any]) -> tuple[dict[str, str], ...]:
    pages = content.get("meta_pages")
    if isinstance(pages, list) and pages:
        return tuple(
            _named_urls(page.get("image_urls") if isinstance(page, dict) else None)
            for page in pages
        )
    urls = _named_urls(content.get("image_urls"))
    single = content.get("meta_single_page")
    original = single.get("original_image_url") if isinstance(single, dict) else None
    if isinstance(original, str):
        urls["original"] = original
    return (urls,)


def _named_urls(urls: Any) -> dict[str, str]:
    if not isinstance(urls, dict):
        return {}
    return {size: urls[size] for size in SIZES if isinstance(urls.get(size), str)}


def _tags(tags: Any) -> tuple[str, ...]:
    if not isinstance(tags, list):
        raise MalformedError("tags is not a list")
    names = [tag.get("name") if isinstance(tag, dict) else tag for tag in tags]
    if not all(isinstance(name, str) for name in names):
        raise MalformedError("tags holds something else than names")
    return tuple(_text(name) for name in names)


def _translations(tags: list[Any]) -> dict[str, str]:
    pairs = (
        (_text(tag["name"]), _text(tag.get("translated_name")))
        for tag in tags
        if isinstance(tag, dict)
    )
    return {name: translation for name, translation in pairs if translation}


def _text(value: Any) -> str:
    """Returns the text; halves of characters, which JSON may hold, become "?"."""
    text = value if isinstance(value, str) else ""
    return text.encode("utf-8", "replace").decode()


def _whole(value: Any, default: int) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value[:20])
    return value if type(value) is int else default
