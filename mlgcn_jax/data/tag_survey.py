"""Which tags a crawl folder has: how many works carry each, and what is no label."""

import collections
import dataclasses
from collections.abc import Iterable, Mapping

from mlgcn_jax.data import folder_contents, labels


@dataclasses.dataclass(frozen=True)
class TagSurvey:
    """The tags of all works.

    Attributes:
        tags_of_works: Id -> tags as written, those of all pages.
        translations: Normalised tag -> its normalised translations.
    """

    tags_of_works: Mapping[str, frozenset[str]]
    translations: Mapping[str, frozenset[str]]

    def works_per_tag(self) -> collections.Counter[str]:
        """Returns normalised tag -> number of works that carry it, however written."""
        works: collections.Counter[str] = collections.Counter()
        for tags in self.tags_of_works.values():
            works.update({labels.normalize_tag(tag) for tag in tags} - {""})
        return works

    def works_per_label(self, vocabulary: labels.Vocabulary) -> list[int]:
        """Returns of every label the number of works that have it."""
        works: collections.Counter[int] = collections.Counter()
        for tags in self.tags_of_works.values():
            works.update(vocabulary.label_indices(tags))
        return [works[index] for index in range(len(vocabulary))]

    def works_without_label(
        self, vocabulary: labels.Vocabulary
    ) -> list[tuple[str, int]]:
        """Returns (normalised tag, works) of what is no label, most works first."""
        names: dict[str, str] = {}  # raw tag -> normalised tag, "" where it is a label
        works: collections.Counter[str] = collections.Counter()
        for tags in self.tags_of_works.values():
            for tag in tags:
                if tag not in names:
                    is_label = bool(vocabulary.label_indices([tag]))
                    names[tag] = "" if is_label else labels.normalize_tag(tag)
            works.update({names[tag] for tag in tags} - {""})
        return sorted(works.items(), key=lambda item: (-item[1], item[0]))


def survey(pictures: Iterable[folder_contents.Picture]) -> TagSurvey:
    """Returns the tags of the works that the pictures are pages of."""
    tags_of_works: dict[str, set[str]] = collections.defaultdict(set)
    translations: dict[str, set[str]] = collections.defaultdict(set)
    for picture in pictures:
        tags_of_works[picture.id].update(picture.tags)
        for tag, translation in picture.translations:
            name, meaning = map(labels.normalize_tag, (tag, translation))
            if name and meaning and name != meaning:
                translations[name].add(meaning)
    return TagSurvey(
        {id_: frozenset(tags) for id_, tags in tags_of_works.items()},
        {name: frozenset(meanings) for name, meanings in translations.items()},
    )
