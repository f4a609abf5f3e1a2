"""Flags that say which works are wanted; the manifest remembers them."""

import pathlib
from typing import Any

from absl import app, flags

from mlgcn_jax.crawl.records import filters

_ALLOW_R18 = flags.DEFINE_boolean(
    "allow_r18", None, "Take works that are restricted to adults; off at first."
)
_ALLOW_AI = flags.DEFINE_boolean(
    "allow_ai", None, "Take works that a generator made; off at first."
)
_TYPES = flags.DEFINE_list(
    "types", None, "Of works: illust, manga, ugoira; at first illust alone."
)
_ALL_PAGES = flags.DEFINE_boolean(
    "all_pages", None, "Take all pages of a work; at first the first alone."
)
_MIN_BOOKMARKS = flags.DEFINE_integer(
    "min_bookmarks",
    None,
    "Take works that so many accounts keep; 0 at first.",
    lower_bound=0,
)
_OPT_OUT_TAGS = flags.DEFINE_list(
    "opt_out_tags",
    None,
    "Leave out works with one of these in tags or caption; at first "
    f"{','.join(filters.OPT_OUT_TAGS)}.",
)
_OPT_OUT_IDS = flags.DEFINE_string(
    "opt_out_ids",
    None,
    "File of authors and works to leave out, a line each: `user ID` or `work ID`.",
)


def changed() -> dict[str, Any]:
    """Returns the fields of `Filters` that flags set; the others stay as they are.

    Raises:
        UsageError: A type of works is unknown.
        OSError: The file of ids cannot be read.
        ValueError: It is none.
    """
    unknown = set(_TYPES.value or ()) - {"illust", "manga", "ugoira"}
    if unknown:
        raise app.UsageError(f"--types: unknown {', '.join(sorted(unknown))}")
    fields = {
        "allow_r18": _ALLOW_R18.value,
        "allow_ai": _ALLOW_AI.value,
        "types": _TYPES.value and tuple(_TYPES.value),
        "all_pages": _ALL_PAGES.value,
        "min_bookmarks": _MIN_BOOKMARKS.value,
        "opt_out_tags": None
        if _OPT_OUT_TAGS.value is None
        else tuple(_OPT_OUT_TAGS.value),
    }
    if _OPT_OUT_IDS.value is not None:
        path = pathlib.Path(_OPT_OUT_IDS.value).expanduser()
        fields["opt_out_users"], fields["opt_out_works"] = filters.read_opt_out_ids(
            path
        )
    return {name: value for name, value in fields.items() if value is not None}
