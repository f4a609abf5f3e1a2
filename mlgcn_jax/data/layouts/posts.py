"""What a site says of one of its works: Pixiv's, Danbooru's and other boorus' JSON."""

import dataclasses
import pathlib
from typing import Any

from mlgcn_jax.data import folder_contents
from mlgcn_jax.data.layouts import file_names, json_fields


@dataclasses.dataclass(frozen=True)
class Post:
    """A work, or one page of it.

    Attributes:
        site: gallery-dl's name of the site: "pixiv", "danbooru", ...
        number: Of the work on its site.
        page: Counts from 0; None where the entry does not say.
        tags: As written.
        translations: (tag, translation) where the site translates.
        title: "" where unknown, like the rest.
        user: Who made it; on Pixiv the number.
        source: Where it comes from.
    """

    site: str
    number: str
    page: int | None
    tags: tuple[str, ...]
    translations: tuple[tuple[str, str], ...]
    title: str
    user: str
    source: str

    @property
    def id(self) -> str:
        """The id of the work among those of all sites."""
        return file_names.work_id(self.site, self.number)

    def picture(self, page: int, path: pathlib.Path) -> folder_contents.Picture:
        """Returns a picture of this work."""
        return folder_contents.Picture(
            id=self.id,
            page=page,
            path=path,
            tags=self.tags,
            title=self.title,
            user=self.user,
            source=self.source,
            translations=self.translations,
        )


def read_post(entry: dict[str, Any], name: file_names.Name | None = None) -> Post:
    """Returns what an entry says, whichever site it is from.

    Args:
        entry: A site's JSON, as it came or as gallery-dl stores it.
        name: What the name of the file tells; for entries that lack site or id.

    Raises:
        UnusableError: Site, id or tags are absent or malformed.
    """
    site = _site(entry, name)
    number = json_fields.read_text(entry, "id") or (name.number if name else "")
    missing = [
        key for key, value in {"category": site, "id": number}.items() if not value
    ]
    if missing:
        raise folder_contents.UnusableError(f"lacks {', '.join(missing)}")
    page = json_fields.read_page(entry, "num") if entry.get("num") is not None else None
    tags, translations = read_tags(entry)
    title, user = _text_or_empty(entry.get("title")), _user(entry.get("user"))
    source = _text_or_empty(entry.get("source"))
    if site == file_names.PIXIV:
        source = f"https://www.pixiv.net/artworks/{number}"
    folder_contents.check_encodable(site, number, title, user, source)
    return Post(site, number, page, tags, translations, title, user, source)


def read_tags(
    entry: dict[str, Any],
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Returns the tags of an entry, and (tag, translation) where there are any.

    Boorus write them as one text, with spaces between. Their meta tags (`highres`) are
    left out: they speak of the file, not of what it shows.

    Raises:
        UnusableError: There are none, or they are malformed.
    """
    value = entry.get("tag_string", entry.get("tags"))
    if value is None:
        raise folder_contents.UnusableError("lacks tags")
    meta = _words(entry.get("tag_string_meta", entry.get("tags_meta")))
    tags, translations = json_fields.read_tags(_words(value))
    if isinstance(meta, list):
        excluded = {tag for tag in meta if isinstance(tag, str)}
        tags = tuple(tag for tag in tags if tag not in excluded)
    return tags, translations


def _site(entry: dict[str, Any], name: file_names.Name | None) -> str:
    category = entry.get("category")
    if isinstance(category, str) and category:
        return category
    if "tag_string" in entry:
        return "danbooru"
    if "x_restrict" in entry:
        return file_names.PIXIV
    return name.site if name else ""


def _words(value: Any) -> Any:
    return value.split() if isinstance(value, str) else value


def _user(value: Any) -> str:
    number = value.get("id") if isinstance(value, dict) else value
    return str(number) if type(number) is int else _text_or_empty(number)


def _text_or_empty(value: Any) -> str:
    return value if isinstance(value, str) else ""
