"""Which works a crawl leaves out, and why."""

import dataclasses
import pathlib
import re
import unicodedata
from typing import Any

from mlgcn_jax.crawl.records import works

# What authors write who do not want their pictures copied or learnt from.
OPT_OUT_TAGS = ("無断転載禁止", "AI学習禁止", "学習禁止", "NoAI")
_ID_LINE = re.compile(r"(user|work)\s+(\d{1,18})")


@dataclasses.dataclass(frozen=True)
class Filters:
    """What is wanted; the defaults are what a careful crawl takes.

    Attributes:
        allow_r18: Take what is restricted to adults.
        allow_ai: Take what is marked as made by a generator.
        types: Of works: illust, manga, ugoira (of which there is the first frame).
        all_pages: Take all pages of a work, not the first alone.
        min_bookmarks: Least number of accounts that keep a work.
        opt_out_tags: Works with one of these among their tags or in their caption are
            left out.
        opt_out_users: Ids of authors who are left out.
        opt_out_works: Ids of works that are left out.
    """

    allow_r18: bool = False
    allow_ai: bool = False
    types: tuple[str, ...] = ("illust",)
    all_pages: bool = False
    min_bookmarks: int = 0
    opt_out_tags: tuple[str, ...] = OPT_OUT_TAGS
    opt_out_users: frozenset[int] = frozenset()
    opt_out_works: frozenset[int] = frozenset()

    def reason_against(self, work: works.Work) -> str | None:
        """Returns why a work is left out, in a few fixed words; None where it is not.

        Gone and restricted are those of which the site shows no picture.
        """
        if work.user_id == 0:
            return "gone"
        if self.is_on_opt_out_list(work):
            return "opt-out list"
        if work.is_hidden:
            return "restricted"
        if work.x_restrict != 0 and not self.allow_r18:
            return "R-18"
        if work.ai_type == 2 and not self.allow_ai:
            return "AI-generated"
        if work.type not in self.types:
            return f"type {work.type[:20]}"
        if work.bookmarks < self.min_bookmarks:
            return "few bookmarks"
        if self._opts_out(work):
            return "opt-out tag"
        return None

    def is_on_opt_out_list(self, work: works.Work) -> bool:
        """Returns whether a work or its author is to be left out by name."""
        return work.id in self.opt_out_works or work.user_id in self.opt_out_users

    def num_pages(self, work: works.Work) -> int:
        """Returns how many pages of a work are wanted, from the first on."""
        return len(work.urls) if self.all_pages else 1

    def _opts_out(self, work: works.Work) -> bool:
        texts = [_fold(text) for text in (*work.tags, work.caption)]
        return any(
            _names(text, _fold(tag)) for tag in self.opt_out_tags for text in texts
        )


def to_json(wanted: Filters) -> dict[str, Any]:
    """Returns the filters as JSON can hold them."""
    return {
        name: sorted(value) if isinstance(value, frozenset) else value
        for name, value in dataclasses.asdict(wanted).items()
    }


def from_json(content: dict[str, Any]) -> Filters:
    """Returns the filters of which `to_json` made an object."""
    kinds = {name: type(value) for name, value in vars(Filters()).items()}
    return Filters(**{name: kinds[name](value) for name, value in content.items()})


def read_opt_out_ids(path: pathlib.Path) -> tuple[frozenset[int], frozenset[int]]:
    """Returns the users and the works that a file lists, a line each: `user 123`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A line is neither `user ID` nor `work ID` nor a # comment.
    """
    ids: dict[str, set[int]] = {"user": set(), "work": set()}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        entry = line.partition("#")[0].strip()
        match = _ID_LINE.fullmatch(entry)
        if match:
            ids[match.group(1)].add(int(match.group(2)))
        elif entry:
            raise ValueError(
                f"{path}, line {number}: {entry[:80]!r} is neither `user ID` nor "
                "`work ID`"
            )
    return frozenset(ids["user"]), frozenset(ids["work"])


def _fold(text: str) -> str:
    """Returns a text without case, width, blanks and hyphens: "No-AI" is "noai"."""
    return re.sub(r"[\s_\-]+", "", unicodedata.normalize("NFKC", text).casefold())


def _names(text: str, tag: str) -> bool:
    """Returns whether a tag stands in a text, not as part of a Latin word."""
    if not tag.isascii():
        return tag in text
    return re.search(rf"(?<![a-z0-9]){re.escape(tag)}(?![a-z0-9])", text) is not None
