"""Proposes which tags mean the same label: for people to decide, in a labels.csv.

Pixiv's translations bring together 猫耳 and "cat ears", but at times also what differs;
spelling brings together ネコミミ and ねこみみ, "cat ear" and "Cat Ears".
"""

import collections
import dataclasses
import re

from mlgcn_jax.data import labels, tag_survey

_HIRAGANA_OF_KATAKANA = {code: code - 0x60 for code in range(0x30A1, 0x30F7)}
_BETWEEN_WORDS = re.compile("[ ・']")
# One letter more or less is often a slip in a long word of letters or kana, and another
# word where there are ideographs (黒髪, 金髪) or digits (1girl, 2girls).
_MIN_LETTERS = 6
_MEANINGFUL = re.compile(r"[\d\u3400-\u9fff]")


@dataclasses.dataclass(frozen=True)
class Proposal:
    """A tag that may be an alias.

    Attributes:
        tag: Normalised.
        works: Number of works that carry it.
        label: That it may mean.
        reason: Why.
        is_likely: Whether it goes into a drafted vocabulary.
    """

    tag: str
    works: int
    label: str
    reason: str
    is_likely: bool


def draft_vocabulary(
    survey: tag_survey.TagSurvey, *, num_labels: int
) -> tuple[labels.Vocabulary, list[Proposal]]:
    """Returns the tags with the most works as labels, with the aliases that are likely.

    A tag that another, more frequent one already stands for is an alias, no label.

    Args:
        survey: The tags.
        num_labels: How many labels; fewer where there are not so many tags.

    Raises:
        ValueError: There is no tag, or num_labels is below 1.
    """
    ranked = labels.choose_vocabulary(survey.tags_of_works.values(), min_works=1)
    finder = _Finder(survey)
    for tag in ranked.labels:
        if len(finder.labels) < num_labels and not finder.find_likely(tag):
            finder.add(tag, ())
    chosen = labels.Vocabulary(tuple(finder.labels), ((),) * len(finder.labels))
    proposals = propose_aliases(survey, chosen)
    return add_aliases(chosen, proposals), proposals


def propose_aliases(
    survey: tag_survey.TagSurvey, vocabulary: labels.Vocabulary
) -> list[Proposal]:
    """Returns the tags that may mean a label and are neither one nor an alias.

    Those that most works carry come first.
    """
    finder = _Finder(survey)
    for label, aliases in zip(vocabulary.labels, vocabulary.aliases, strict=True):
        finder.add(label, aliases)
    proposals: list[Proposal] = []
    for tag, works in survey.works_without_label(vocabulary):
        if found := finder.find_likely(tag):
            proposals.append(Proposal(tag, works, *found, is_likely=True))
        elif found := finder.find_slip(tag):
            proposals.append(Proposal(tag, works, *found, is_likely=False))
    return proposals


def add_aliases(
    vocabulary: labels.Vocabulary, proposals: list[Proposal]
) -> labels.Vocabulary:
    """Returns the vocabulary with the likely ones of the proposals as aliases."""
    of_label: dict[str, list[str]] = collections.defaultdict(list)
    for proposal in proposals:
        # A file of aliases cannot hold the character that separates them.
        if proposal.is_likely and "|" not in proposal.tag:
            of_label[proposal.label].append(proposal.tag)
    aliases = (
        (*given, *of_label[label])
        for label, given in zip(vocabulary.labels, vocabulary.aliases, strict=True)
    )
    return labels.Vocabulary(vocabulary.labels, tuple(aliases))


class _Finder:
    """Finds the label that a tag may mean; of several the one that was added first."""

    def __init__(self, survey: tag_survey.TagSurvey):
        self._survey = survey
        self.labels: list[str] = []
        # What is looked for -> label, and the tag of the label that it comes from.
        self._spellings: dict[str, tuple[str, str]] = {}
        self._meanings: dict[str, tuple[str, str]] = {}
        self._slips: dict[str, tuple[str, str]] = {}

    def add(self, label: str, aliases: tuple[str, ...]) -> None:
        self.labels.append(label)
        for tag in (label, *aliases):
            name = labels.normalize_tag(tag)
            self._spellings.setdefault(_spelling(name), (label, tag))
            self._meanings.setdefault(_spelling(name), (label, tag))
            for meaning in self._survey.translations.get(name, ()):
                self._meanings.setdefault(_spelling(meaning), (label, tag))
            for shorter in _shortened(name):
                self._slips.setdefault(shorter, (label, tag))

    def find_likely(self, name: str) -> tuple[str, str] | None:
        """Returns the label and the reason, from spelling and translations."""
        if found := self._spellings.get(_spelling(name)):
            return found[0], f"spelled like {found[1]!r}"
        for meaning in (name, *sorted(self._survey.translations.get(name, ()))):
            if found := self._meanings.get(_spelling(meaning)):
                if labels.normalize_tag(found[1]) == meaning:
                    return found[0], f"means {meaning!r}"
                return found[0], f"{meaning!r} is also what {found[1]!r} means"
        return None

    def find_slip(self, name: str) -> tuple[str, str] | None:
        """Returns the label and the reason, where a letter is another or astray."""
        for shorter in _shortened(name):
            if found := self._slips.get(shorter):
                return found[0], f"a letter away from {found[1]!r}"
        return None


def _spelling(name: str) -> str:
    """Returns a normalised tag without what spellings of a word differ in."""
    words = (_singular(word) for word in _BETWEEN_WORDS.split(name))
    # ロングヘアー, ロングヘア; in other places the long vowel makes another word.
    joined = "".join(word.rstrip("ー") for word in words)
    return joined.translate(_HIRAGANA_OF_KATAKANA) or name


def _singular(word: str) -> str:
    if not word.isascii() or len(word) <= 3 or not word.endswith("s"):
        return word
    if word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    return word if word.endswith("ss") else word[:-1]


def _shortened(name: str) -> list[str]:
    """Returns a long word, and all that it becomes when a letter is lost.

    Two words have one of these in common where a letter is missing, added or another,
    or two have changed places.
    """
    if len(name) < _MIN_LETTERS or _MEANINGFUL.search(name):
        return []
    return [name, *(name[:i] + name[i + 1 :] for i in range(len(name)))]
