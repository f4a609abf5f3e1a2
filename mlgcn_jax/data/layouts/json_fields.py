"""Reads JSON that strangers wrote; what is wrong with it is an UnusableError."""

import json
from typing import Any

from mlgcn_jax.data import folder_contents

_MAX_PAGE = 2**31 - 1  # stored as int32


def parse_object(text: bytes) -> dict[str, Any]:
    """Returns the JSON object in a file or line.

    Raises:
        UnusableError: It is no UTF-8, no JSON, or no object.
    """
    try:
        entry = json.loads(text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise folder_contents.UnusableError("not UTF-8 text") from error
    except (ValueError, RecursionError) as error:
        raise folder_contents.UnusableError(f"not JSON: {error}") from error
    if not isinstance(entry, dict):
        raise folder_contents.UnusableError("not a JSON object")
    return entry


def read_text(entry: dict[str, Any], key: str) -> str:
    """Returns a text or whole number as text; "" where it is absent.

    Raises:
        UnusableError: It is something else.
    """
    value = entry.get(key)
    if value is None:
        return ""
    if type(value) not in (str, int):
        raise folder_contents.UnusableError(f"{key} is neither text nor a whole number")
    return str(value)


def read_page(entry: dict[str, Any], key: str) -> int:
    """Returns the number of a page.

    Raises:
        UnusableError: It is no whole number from 0 to 2^31 - 1.
    """
    page = entry[key]
    if type(page) is not int or not 0 <= page <= _MAX_PAGE:
        raise folder_contents.UnusableError(
            f"{key} is not a whole number from 0 to {_MAX_PAGE}"
        )
    return page


def read_tags(value: Any) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Returns the tags of a list, and (tag, translation) of those that have one.

    A tag is a text, or the {"name": ..., "translated_name": ...} that Pixiv sends.

    Raises:
        UnusableError: It is no such list, or `folder_contents.check_tags` raises.
    """
    if not isinstance(value, list):
        raise folder_contents.UnusableError("tags is not a list")
    tags: list[str] = []
    translations: list[tuple[str, str]] = []
    for tag in value:
        name = tag.get("name") if isinstance(tag, dict) else tag
        if not isinstance(name, str):
            raise folder_contents.UnusableError(
                'tags holds something else than text or {"name": text}'
            )
        tags.append(name)
        translation = tag.get("translated_name") if isinstance(tag, dict) else None
        if isinstance(translation, str) and translation:
            translations.append((name, translation))
    folder_contents.check_tags(tags)
    folder_contents.check_tags([translation for _, translation in translations])
    return tuple(tags), tuple(translations)
