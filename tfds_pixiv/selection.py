"""What of a crawl folder goes into the dataset: its vocabulary, labels and splits.

First half of the build: only the metadata is read here, no pixel. `encoding` then
decodes the pictures that were selected, and the builder writes them.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import tempfile
from collections.abc import Iterator, Sequence

from mlgcn_jax.data import (
    archives,
    folder_contents,
    folders,
    implied_labels,
    labels,
    splits,
    tag_survey,
)

SPLITS = ("train", "validation")
NEGATIVES = ("drop", "keep")  # what becomes of tagged pictures without a label


@dataclasses.dataclass(frozen=True)
class LabelledPicture:
    """A picture of which it is known which labels of the vocabulary it has.

    Attributes:
        picture: As read from the crawl folder.
        labels: Sorted label indices; none where it is a negative.
    """

    picture: folder_contents.Picture
    labels: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Selection:
    """The contents of a dataset, before any picture is decoded.

    Attributes:
        vocabulary: Its labels are the classes of the dataset, in this order.
        implied_labels: Label index -> indices of all that it implies.
        pictures: Split name -> pictures in record order.
        rejects: Metadata entries that name no usable file.
        negatives: One of NEGATIVES: what became of pictures that have tags but none of
            the labels. The paper's data are the works that carry one of its labels.
        without_labels: Number of pictures left out because none of their tags is a
            label.
        without_tags: How many of those have no tag that says what they show. Nothing
            is known of them, so they are never negatives.
        dropped_tags: (tag, number of works) of the tags that are no label, most
            frequent first.
        source_sha256: Identity of the crawl folder: ids, tags, file names and sizes.
    """

    vocabulary: labels.Vocabulary
    implied_labels: dict[int, frozenset[int]]
    pictures: dict[str, list[LabelledPicture]]
    rejects: list[folder_contents.Reject]
    negatives: str
    without_labels: int
    without_tags: int
    dropped_tags: list[tuple[str, int]]
    source_sha256: str

    @property
    def num_pictures(self) -> int:
        """Number of selected pictures, all splits together."""
        return sum(len(pictures) for pictures in self.pictures.values())


@contextlib.contextmanager
def open_source(
    source: pathlib.Path, *, scratch_dir: pathlib.Path
) -> Iterator[pathlib.Path]:
    """Yields the crawl folder; an archive is unpacked and removed again at the end.

    Args:
        source: Crawl folder, or a tar or zip archive of one.
        scratch_dir: Where archives are unpacked: on the disk of the dataset, because
            the one for temporary files may be too small.

    Raises:
        FileNotFoundError: `source` does not exist.
        ValueError: `source` is no archive that `archives.unpack` knows.
    """
    if source.is_dir():
        yield source
        return
    if not source.exists():
        raise FileNotFoundError(
            f"{source} does not exist; give a folder of pictures with their tags "
            "(metadata.jsonl, gallery-dl's .json, .txt tag files) or an archive of one"
        )
    scratch_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch_dir, prefix="unpacked.") as scratch:
        archives.unpack(source, pathlib.Path(scratch))
        entries = list(pathlib.Path(scratch).iterdir())
        # Archives often hold one folder that holds everything.
        only_a_folder = len(entries) == 1 and entries[0].is_dir()
        yield entries[0] if only_a_folder else pathlib.Path(scratch)


def select(
    folder: pathlib.Path,
    *,
    vocabulary: str | None = None,
    num_labels: int | None = None,
    min_works: int | None = None,
    implications: str | None = None,
    negatives: str = "drop",
) -> Selection:
    """Reads the metadata of a crawl folder and assigns labels and splits.

    Args:
        folder: Crawl folder.
        vocabulary: Path of a labels.csv, or the name of a shipped vocabulary.
        num_labels: Instead: the tags with the most works.
        min_works: Instead: every tag with at least this many works.
        implications: Path of an implications.csv, or the name of a shipped one:
            pictures get the labels too that theirs imply.
        negatives: `keep`: pictures that have tags but none of the labels are examples
            without a label; `drop`: they are left out.

    Raises:
        FileNotFoundError: No vocabulary is given and the folder has no labels.csv.
        ValueError: The vocabulary or the implications are bad, no picture is usable or
            carries a label of it, or one of the splits gets no picture with a label.
    """
    pictures, rejects = folders.read_folder(folder)
    if not pictures:
        first = rejects[0]
        raise ValueError(
            f"none of the {len(rejects)} entries of {folder} names a usable picture; "
            f"the first is {first.file}: {first.reason}"
        )
    tags = tag_survey.survey(pictures)
    if vocabulary is not None:
        chosen = labels.named_vocabulary(vocabulary)
    elif num_labels is not None or min_works is not None:
        chosen = labels.choose_vocabulary(
            tags.tags_of_works.values(), num_labels=num_labels, min_works=min_works
        )
    elif (folder / "labels.csv").is_file():
        chosen = labels.read_vocabulary(folder / "labels.csv")
    else:
        raise FileNotFoundError(
            f"there is no labels.csv in {folder}; name a vocabulary file, or ask for "
            "the N labels with the most works or all labels with at least M works"
        )

    implied = (
        implied_labels.read_implications(implications, chosen) if implications else {}
    )
    split_pictures: dict[str, list[LabelledPicture]] = {split: [] for split in SPLITS}
    without_tags = 0
    for picture in sorted(pictures, key=_record_order):
        own = chosen.label_indices(picture.tags)
        indices = implied_labels.apply(own, implied)
        is_known = bool(indices or labels.content_tags(picture.tags))
        without_tags += not is_known
        if indices or (is_known and negatives == "keep"):
            split = splits.split_of(picture.id)
            split_pictures[split].append(LabelledPicture(picture, indices))
    selection = Selection(
        vocabulary=chosen,
        implied_labels=implied,
        pictures=split_pictures,
        rejects=list(rejects),
        negatives=negatives,
        without_labels=len(pictures) - sum(map(len, split_pictures.values())),
        without_tags=without_tags,
        dropped_tags=tags.works_without_label(chosen),
        source_sha256=_source_sha256(folder, pictures),
    )
    _check_labelled(selection, folder)
    return selection


def _record_order(picture: folder_contents.Picture) -> bytes:
    """Sort key: shuffled, so that any slice of a split is a fair sample of it."""
    return hashlib.sha256(f"{picture.id} {picture.page}".encode()).digest()


def _source_sha256(
    folder: pathlib.Path, pictures: Sequence[folder_contents.Picture]
) -> str:
    digest = hashlib.sha256()
    for picture in sorted(pictures, key=lambda picture: (picture.id, picture.page)):
        file = os.path.relpath(picture.path, folder)
        entry = [picture.id, picture.page, file, picture.path.stat().st_size]
        entry += [picture.tags, picture.title, picture.user]
        digest.update(json.dumps(entry).encode())
    return digest.hexdigest()


def _check_labelled(selection: Selection, folder: pathlib.Path) -> None:
    num_labelled = {
        split: sum(bool(picture.labels) for picture in pictures)
        for split, pictures in selection.pictures.items()
    }
    if not any(num_labelled.values()):
        num_pictures = selection.num_pictures + selection.without_labels
        found = ", ".join(repr(tag) for tag, _ in selection.dropped_tags[:5])
        wanted = ", ".join(repr(label) for label in selection.vocabulary.labels[:5])
        raise ValueError(
            f"no label found: none of the {num_pictures} pictures in "
            f"{folder} carries one of the {len(selection.vocabulary)} labels "
            f"({wanted or 'none'}, ...); its most frequent tags are "
            f"{found or 'none'}; use a vocabulary or a smaller minimum that fits"
        )
    total = sum(num_labelled.values())
    for split, number in num_labelled.items():
        if not number:
            raise ValueError(
                f"the {split} split is empty: all {total} labelled pictures fall into "
                "the other one (works are split 3/4 : 1/4 by a hash of their id); "
                "give a folder with more works"
            )
