"""Shows the tags of a folder, and proposes which of them mean the same.

    mlgcn tags FOLDER [--labels=labels.csv] [--top=40] [--write=labels.csv]

With --labels: how many works each label has, which tags may be aliases, and which
frequent tags are no label. Without: the --top tags with the most works, drafted as a
vocabulary. --write puts the vocabulary with the likely aliases into a file, to be
edited and given to `mlgcn build --labels`.
"""

import pathlib
from collections.abc import Sequence

from absl import app, flags

from mlgcn_jax.data import alias_proposals, folders, labels, tag_survey

_LABELS = flags.DEFINE_string(
    "labels",
    None,
    "Vocabulary: a file with the columns label,aliases, or the name of a shipped one: "
    "openclipart40, pixiv40.",
)
_TOP = flags.DEFINE_integer(
    "top", 40, "Labels of the draft, and lines of each list.", lower_bound=1
)
_WRITE = flags.DEFINE_string("write", None, "Where a labels.csv is written.")
_OVERWRITE = flags.DEFINE_boolean("overwrite", False, "Replace the file of --write.")


def main(argv: list[str]) -> None:
    """Prints the lists and writes the vocabulary.

    Raises:
        FileExistsError: The file of --write is there already.
        ValueError: The folder or the vocabulary cannot be used.
    """
    if len(argv) != 2:
        raise app.UsageError(f"expected one folder, found {argv[1:]}")
    target = pathlib.Path(_WRITE.value) if _WRITE.value else None
    if target is not None and target.exists() and not _OVERWRITE.value:
        raise FileExistsError(f"{target} is there already; --overwrite replaces it")
    pictures, rejects = folders.read_folder(pathlib.Path(argv[1]))
    survey = tag_survey.survey(pictures)
    print(
        f"{len(survey.tags_of_works)} works, {len(pictures)} pictures, "
        f"{len(survey.works_per_tag())} tags; {len(rejects)} rejected"
    )
    if _LABELS.value is None:
        vocabulary, proposals = alias_proposals.draft_vocabulary(
            survey, num_labels=_TOP.value
        )
    else:
        given = labels.named_vocabulary(_LABELS.value)
        proposals = alias_proposals.propose_aliases(survey, given)
        vocabulary = alias_proposals.add_aliases(given, proposals)
    _print_lists(survey, vocabulary, proposals)
    if target is not None:
        labels.write_vocabulary(vocabulary, target)
        print(f"\nwritten: {target}; edit it, then mlgcn build --labels={target}")


def _print_lists(
    survey: tag_survey.TagSurvey,
    vocabulary: labels.Vocabulary,
    proposals: list[alias_proposals.Proposal],
) -> None:
    def translated(tag: str) -> str:
        meanings = sorted(survey.translations.get(labels.normalize_tag(tag), ()))
        return f"{tag} ({', '.join(meanings)})" if meanings else tag

    works = survey.works_per_label(vocabulary)
    of_labels = sorted(
        zip(works, vocabulary.labels, strict=True), key=lambda row: -row[0]
    )
    _print_list(
        "labels, with all their aliases",
        [(number, translated(label)) for number, label in of_labels],
    )
    for title, is_likely in (("likely aliases", True), ("perhaps aliases", False)):
        rows = [
            (proposal.works, f"{proposal.tag} -> {proposal.label}: {proposal.reason}")
            for proposal in proposals
            if proposal.is_likely == is_likely
        ]
        _print_list(title, rows)
    missed = survey.works_without_label(vocabulary)
    _print_list(
        "tags that are neither label nor alias",
        [(n, translated(tag)) for tag, n in missed if tag not in labels.META_TAGS],
    )


def _print_list(title: str, rows: Sequence[tuple[int, str]]) -> None:
    """Prints numbers of works and what they are of, --top lines at most."""
    print(f"\n{title}: {len(rows)}")
    for works, text in rows[: _TOP.value]:
        print(f"{works:9,}  {text}")
    if len(rows) > _TOP.value:
        print(f"{'...':>9}  (--top={len(rows)} shows all)")
