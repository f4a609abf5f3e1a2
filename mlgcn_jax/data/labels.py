"""Tags as people write them -> label indices of a fixed vocabulary.

A vocabulary is read from a `labels.csv`, or chosen as the most frequent tags. Tags and
label names are compared in the form that `normalize_tag` gives them.
"""

import collections
import csv
import dataclasses
import functools
import itertools
import pathlib
import re
import unicodedata
from collections.abc import Iterable

from mlgcn_jax.data import files, tables

_HEADER = ("label", "aliases")
_VOCABULARIES = pathlib.Path(__file__).parent / "vocabularies"

_SEPARATORS = re.compile(r"[\s_\-\u2010]+")  # U+2010 is what NFKC makes of U+2011
# What is put behind a tag to count bookmarks or to celebrate a day; the tag before it
# is what the picture shows. `(?<!\d)` keeps long runs of digits from costing n^2.
_SUFFIXES = re.compile(
    r"""(?:\ ?(?:
        (?<!\d)\d*\ ?users?\ ?入り              # 1000users入り
      | (?<!\d)\d+\+?\ ?(?:users?|bookmarks?)   # 1000+ bookmarks
      | (?:生誕祭|誕生祭)\ ?(?:\d+年?)?         # 生誕祭2023
      | 版?深夜の(?:真剣)?お絵描き60分一本勝負  # drawing contest of an hour
    ))+$""",
    re.VERBOSE,
)
_PART_SEPARATORS = re.compile("[/、]")


@functools.lru_cache(maxsize=2**16)  # the same tags come again and again
def normalize_tag(tag: str) -> str:
    """Returns the form in which tags are compared; "" where nothing is left of it.

    Unicode NFKC and case folding; a leading # goes; spaces, underscores and hyphens
    become one space; popularity and event suffixes (1000users入り, 1000+ bookmarks,
    生誕祭2023) go. Pure numbers become "": they are what is left of counts and dates.
    """
    # Folding can undo the composition, so it is done again.
    text = unicodedata.normalize("NFKC", tag).casefold()
    text = unicodedata.normalize("NFKC", text)
    text = _SEPARATORS.sub(" ", text).lstrip("# ").rstrip()
    text = _SUFFIXES.sub("", text).rstrip()
    return "" if text.replace(" ", "").isdecimal() else text


# Tags that say something about the posting and nothing about what the picture shows:
# an image model cannot learn them, and they would be among the most frequent labels.
META_TAGS = frozenset(
    normalize_tag(tag)
    for tag in (
        *("漫画", "manga", "comic", "4コマ", "イラスト", "illustration", "絵", "art"),
        *("オリジナル", "創作", "原創", "原创", "original", "一次創作", "二次創作"),
        *("落書き", "らくがき", "ラクガキ", "doodle", "sketch", "練習", "過去絵"),
        *(
            "R-18",
            "R-18G",
            "R-15",
            "nsfw",
            "AI",
            "AIイラスト",
            "AI生成",
            "AI-generated",
        ),
        *("ふつくしい", "なにこれかわいい", "なにこれ素敵", "10点じゃ足りない"),
    )
)


def content_tags(tags: Iterable[str]) -> set[str]:
    """Returns the normalised tags that say what a picture shows; empty: it is unknown.

    Empty where there is no tag, or nothing but numbers, counts of bookmarks and
    `META_TAGS`.
    """
    return {normalize_tag(tag) for tag in tags} - META_TAGS - {""}


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Ordered labels; a label's index is its class in datasets, graphs and models.

    Attributes:
        labels: Names as written.
        aliases: Of each label, the other tags that mean it. One tag may mean several
            labels.

    Raises:
        ValueError: A name or alias is empty once normalised, or two names are the same.
    """

    labels: tuple[str, ...]
    aliases: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        """Checks the names."""
        names: dict[str, str] = {}  # normalised -> as written
        for label, aliases in zip(self.labels, self.aliases, strict=True):
            for tag in (label, *aliases):
                if not normalize_tag(tag):
                    raise ValueError(
                        f"{tag!r} (of label {label!r}) is empty once normalised, as "
                        "are numbers and counts of bookmarks; no tag could match it"
                    )
            name = normalize_tag(label)
            if name in names:
                raise ValueError(
                    f"labels {names[name]!r} and {label!r} are the same once "
                    "normalised; keep one and make the other's aliases its own"
                )
            names[name] = label

    def __len__(self) -> int:
        """Returns the number of labels."""
        return len(self.labels)

    def label_indices(self, tags: Iterable[str]) -> tuple[int, ...]:
        """Returns the sorted indices of the labels that the tags mean.

        An unknown tag like "猫耳/メイド" counts as its parts where all of them are
        known; else the slash belongs to a title ("Fate/Zero"), and it is no label.
        """
        found: set[int] = set()
        for tag in tags:
            name = normalize_tag(tag)
            if name in self._indices:
                found |= self._indices[name]
                continue
            parts = [normalize_tag(part) for part in _PART_SEPARATORS.split(name)]
            if all(part in self._indices for part in parts):
                found.update(*(self._indices[part] for part in parts))
        return tuple(sorted(found))

    @functools.cached_property
    def _indices(self) -> dict[str, set[int]]:
        """Normalised tag -> indices of the labels that it means."""
        indices: dict[str, set[int]] = collections.defaultdict(set)
        for index, label in enumerate(self.labels):
            for tag in (label, *self.aliases[index]):
                indices[normalize_tag(tag)].add(index)
        return dict(indices)


def read_vocabulary(path: pathlib.Path) -> Vocabulary:
    """Reads a labels.csv: `label,aliases`, aliases separated by `|`, in UTF-8.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no such table, or its names are no vocabulary.
    """
    rows = tables.read_rows(path, _HEADER)
    if not rows:
        raise ValueError(f"{path} has no label under its header; add one a line")
    names = tuple(label for label, _ in rows)
    aliases = tuple(
        tuple(alias.strip() for alias in cell.split("|")) if cell else ()
        for _, cell in rows
    )
    try:
        return Vocabulary(names, aliases)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def write_vocabulary(vocabulary: Vocabulary, path: pathlib.Path) -> None:
    """Writes a labels.csv that `read_vocabulary` reads.

    Raises:
        ValueError: An alias holds the separator `|`.
    """
    for alias in itertools.chain.from_iterable(vocabulary.aliases):
        if "|" in alias:
            raise ValueError(f"alias {alias!r} holds a |, which separates aliases")
    aliases = ["|".join(names) for names in vocabulary.aliases]
    with files.written_whole(path) as temporary:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(_HEADER)
            writer.writerows(zip(vocabulary.labels, aliases, strict=True))


def choose_vocabulary(
    tags_per_work: Iterable[Iterable[str]],
    *,
    num_labels: int | None = None,
    min_works: int | None = None,
) -> Vocabulary:
    """Returns the tags of the most works, most first, equal ones by name.

    A work counts once for a tag however often it carries it. Tags that say nothing of
    what the picture shows (original, R-18, ...) are left out.

    Args:
        tags_per_work: The tags of each work.
        num_labels: How many; fewer where there are not so many tags.
        min_works: Instead: all tags that at least this many works carry.

    Raises:
        ValueError: Not exactly one of num_labels and min_works is given, or it is below
            1, or no tag is left.
    """
    limits = [limit for limit in (num_labels, min_works) if limit is not None]
    if len(limits) != 1 or limits[0] < 1:
        raise ValueError(
            f"num_labels={num_labels}, min_works={min_works}: give one of them, at "
            "least 1"
        )
    works: collections.Counter[str] = collections.Counter()
    for tags in tags_per_work:
        works.update(content_tags(tags))
    ranked = sorted(works, key=lambda name: (-works[name], name))
    chosen = [name for name in ranked if works[name] >= (min_works or 1)][:num_labels]
    if not chosen:
        most = f"{ranked[0]!r} with {works[ranked[0]]} works" if ranked else "none"
        raise ValueError(
            f"no tag can be a label with num_labels={num_labels}, "
            f"min_works={min_works}; the most frequent usable tag is {most}"
        )
    return Vocabulary(tuple(chosen), ((),) * len(chosen))


def named_vocabulary(name_or_path: str) -> Vocabulary:
    """Returns the vocabulary in a labels.csv, or one that comes with mlgcn-jax.

    Args:
        name_or_path: A path, or openclipart40 or pixiv40.

    Raises:
        FileNotFoundError, ValueError: As `read_vocabulary`; or there is none of this
            name.
    """
    path = pathlib.Path(name_or_path).expanduser()
    if path.suffix == ".csv" or path.is_file():
        return read_vocabulary(path)
    names = sorted(path.stem for path in _VOCABULARIES.glob("*.csv"))
    if name_or_path not in names:
        raise ValueError(
            f"{name_or_path!r} is neither a labels.csv nor one of the shipped "
            f"vocabularies {', '.join(names)}"
        )
    return read_vocabulary(_VOCABULARIES / f"{name_or_path}.csv")
