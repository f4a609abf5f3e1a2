"""What of a crawl folder goes into the dataset: its vocabulary, labels and splits.

First half of the build: only the metadata is read here, no pixel. `encoding` then
decodes the pictures that were selected, and the builder writes them.
"""

import collections
import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import tempfile
from collections.abc import Iterator, Sequence

from mlgcn_jax.data import archives, folder_contents, folders, labels, splits

SPLITS = ("train", "validation")


@dataclasses.dataclass(frozen=True)
class LabelledPicture:
    """A picture that carries at least one label of the vocabulary.

    Attributes:
        picture: As read from the crawl folder.
        labels: Sorted label indices.
    """

    picture: folder_contents.Picture
    labels: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Selection:
    """The contents of a dataset, before any picture is decoded.

    Attributes:
        vocabulary: Its labels are the classes of the dataset, in this order.
        pictures: Split name -> pictures in record order.
        rejects: Metadata entries that name no usable file.
        without_labels: Number of pictures left out because none of their tags is a
            label: the paper's data are the works that carry one of its labels.
        dropped_tags: (tag, number of works) of the tags that are no label, most
            frequent first.
        source_sha256: Identity of the crawl folder: ids, tags, file names and sizes.
    """

    vocabulary: labels.Vocabulary
    pictures: dict[str, list[LabelledPicture]]
    rejects: list[folder_contents.Reject]
    without_labels: int
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
            f"{source} does not exist; give a crawl folder (images and "
            "metadata.jsonl, or images with .txt tag files) or an archive of one"
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
) -> Selection:
    """Reads the metadata of a crawl folder and assigns labels and splits.

    Args:
        folder: Crawl folder.
        vocabulary: Path of a labels.csv, or the name of a shipped vocabulary.
        num_labels: Instead: the tags with the most works.
        min_works: Instead: every tag with at least this many works.

    Raises:
        FileNotFoundError: No vocabulary is given and the folder has no labels.csv.
        ValueError: The vocabulary is bad, no picture is usable or carries a label of
            it, or one of the splits gets no picture.
    """
    pictures, rejects = folders.read_folder(folder)
    if not pictures:
        first = rejects[0]
        raise ValueError(
            f"none of the {len(rejects)} entries of {folder} names a usable picture; "
            f"the first is {first.file}: {first.reason}"
        )
    tags_of_works = _tags_of_works(pictures)
    if vocabulary is not None:
        chosen = _read_vocabulary(vocabulary)
    elif num_labels is not None or min_works is not None:
        chosen = labels.choose_vocabulary(
            tags_of_works.values(), num_labels=num_labels, min_works=min_works
        )
    elif (folder / "labels.csv").is_file():
        chosen = labels.read_vocabulary(folder / "labels.csv")
    else:
        raise FileNotFoundError(
            f"there is no labels.csv in {folder}; name a vocabulary file, or ask for "
            "the N labels with the most works or all labels with at least M works"
        )

    split_pictures: dict[str, list[LabelledPicture]] = {split: [] for split in SPLITS}
    for picture in sorted(pictures, key=_record_order):
        if indices := chosen.label_indices(picture.tags):
            split = splits.split_of(picture.id)
            split_pictures[split].append(LabelledPicture(picture, indices))
    selection = Selection(
        vocabulary=chosen,
        pictures=split_pictures,
        rejects=list(rejects),
        without_labels=len(pictures) - sum(map(len, split_pictures.values())),
        dropped_tags=_dropped_tags(tags_of_works, chosen),
        source_sha256=_source_sha256(folder, pictures),
    )
    _check_not_empty(selection, folder)
    return selection


def _read_vocabulary(name_or_path: str) -> labels.Vocabulary:
    path = pathlib.Path(name_or_path)
    if path.suffix == ".csv" or path.is_file():
        return labels.read_vocabulary(path)
    return labels.shipped_vocabulary(name_or_path)


def _record_order(picture: folder_contents.Picture) -> bytes:
    """Sort key: shuffled, so that any slice of a split is a fair sample of it."""
    return hashlib.sha256(f"{picture.id} {picture.page}".encode()).digest()


def _tags_of_works(pictures: Sequence[folder_contents.Picture]) -> dict[str, set[str]]:
    tags_of_works: dict[str, set[str]] = collections.defaultdict(set)
    for picture in pictures:
        tags_of_works[picture.id].update(picture.tags)
    return tags_of_works


def _dropped_tags(
    tags_of_works: dict[str, set[str]], vocabulary: labels.Vocabulary
) -> list[tuple[str, int]]:
    names: dict[str, str] = {}  # raw tag -> normalised tag, "" where it is a label
    works: collections.Counter[str] = collections.Counter()
    for tags in tags_of_works.values():
        for tag in tags:
            if tag not in names:
                is_label = bool(vocabulary.label_indices([tag]))
                names[tag] = "" if is_label else labels.normalize_tag(tag)
        works.update({names[tag] for tag in tags} - {""})
    return sorted(works.items(), key=lambda item: (-item[1], item[0]))


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


def _check_not_empty(selection: Selection, folder: pathlib.Path) -> None:
    if not selection.num_pictures:
        found = ", ".join(repr(tag) for tag, _ in selection.dropped_tags[:5])
        wanted = ", ".join(repr(label) for label in selection.vocabulary.labels[:5])
        raise ValueError(
            f"no label found: none of the {selection.without_labels} pictures in "
            f"{folder} carries one of the {len(selection.vocabulary)} labels "
            f"({wanted or 'none'}, ...); its most frequent tags are "
            f"{found or 'none'}; use a vocabulary or a smaller minimum that fits"
        )
    for split, pictures in selection.pictures.items():
        if not pictures:
            raise ValueError(
                f"the {split} split is empty: all {selection.num_pictures} labelled "
                "pictures fall into the other one (works are split 3/4 : 1/4 by a "
                "hash of their id); give a folder with more works"
            )
