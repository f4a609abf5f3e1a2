"""Builds the TFDS dataset of a crawl folder, without TensorFlow.

    mlgcn build FOLDER|ARCHIVE --labels=labels.csv|--top=N|--min_works=M --data_dir=DIR

Without --labels, --top and --min_works the labels.csv of the crawl folder is used;
without a folder, the sample of the Open Clip Art Library that comes with mlgcn-jax.
"""

import csv
import itertools
import pathlib
from typing import cast

from absl import app, flags

from mlgcn_jax.data import constant_labels, dataset
from tfds_pixiv import build, twin_record

_LABELS = flags.DEFINE_string(
    "labels",
    None,
    "Vocabulary: a file with the columns label,aliases (aliases separated by |), or "
    "the name of a shipped one: openclipart40, pixiv40.",
)
_TOP = flags.DEFINE_integer(
    "top", None, "Use the N tags with the most works as labels.", lower_bound=1
)
_MIN_WORKS = flags.DEFINE_integer(
    "min_works", None, "Use all tags of at least M works as labels.", lower_bound=1
)
_IMPLICATIONS = flags.DEFINE_string(
    "implications",
    None,
    "Add the labels that a picture's labels imply: a file with the columns "
    "label,implies, or the name of a shipped one: pixiv40.",
)
_NEGATIVES = flags.DEFINE_enum(
    "negatives",
    "drop",
    ["drop", "keep"],
    "What becomes of pictures that have tags but none of the labels: left out, as in "
    "the paper, or kept as examples without a label. Those without tags are left out.",
)
_MAX_SIDE = flags.DEFINE_integer(
    "max_side",
    512,
    "Shrink larger pictures to this long side, in px; train at most at this size.",
    lower_bound=1,
    upper_bound=65_500,  # of a JPEG
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder under which the dataset is written.", required=True
)
_MAX_REJECT_SHARE = flags.DEFINE_float(
    "max_reject_share",
    0.05,
    "Fail when more than this share of the pictures cannot be used.",
    lower_bound=0,
    upper_bound=1,
)
_TWINS = flags.DEFINE_enum(
    "twins",
    None,
    twin_record.POLICIES,
    "Training pictures that are copies of validation pictures: drop them (what a new "
    "dataset does if nothing is said) or keep them.",
)
_OVERWRITE = flags.DEFINE_boolean(
    "overwrite", False, "Delete the dataset that is there and build it anew."
)

_DROPPED_TAGS_SHOWN = 10


def main(argv: list[str]) -> None:
    """Builds the dataset, or finds it built, and prints what it holds.

    Raises:
        ValueError: The dataset is there already, from another folder or vocabulary; or
            the crawl folder or the vocabulary cannot be used.
    """
    if len(argv) > 2:
        raise app.UsageError(f"expected one folder or archive, found {argv[1:]}")
    if sum(flag.value is not None for flag in (_LABELS, _TOP, _MIN_WORKS)) > 1:
        raise app.UsageError("give one of --labels, --top and --min_works")
    built, is_new = build.build(
        pathlib.Path(argv[1]) if len(argv) == 2 else None,
        pathlib.Path(_DATA_DIR.value).expanduser(),
        labels=_LABELS.value,
        top=_TOP.value,
        min_works=_MIN_WORKS.value,
        implications=_IMPLICATIONS.value,
        negatives=_NEGATIVES.value,
        max_side_px=_MAX_SIDE.value,
        max_reject_share=_MAX_REJECT_SHARE.value,
        twins=cast(twin_record.Policy | None, _TWINS.value),  # absl knows str alone
        overwrite=_OVERWRITE.value,
    )
    if not is_new:
        print("already built, nothing to do")
    _print_summary(built)


def _print_summary(built: dataset.Dataset) -> None:
    record = built.build_record()
    counts = record["counts"]
    print(f"dataset: {built.directory}")
    print(
        f"examples: {counts['train']} train, {counts['validation']} validation; "
        f"without a label: {counts.get('negatives', 0)}; labels: {counts['labels']}"
    )
    without_tags = counts.get("without_tags")  # datasets of before did not count them
    print(
        f"rejected: {counts['rejects']} (rejects.jsonl); "
        f"left out without a label: {counts['without_labels']}"
        + ("" if without_tags is None else f", of which without tags: {without_tags}")
    )
    if "twins" in counts:  # not in datasets of before
        found = counts["twins"]
        is_dropped = record["settings"]["twins"] == "drop"
        print(
            f"twins: {found['train_validation']} training pictures "
            f"{'left out as' if is_dropped else 'kept that are'} copies of validation "
            f"pictures; {found['train']} copies within train, {found['validation']} "
            "within validation (twins.csv)"
        )
    with (built.directory / "dropped_tags.csv").open(encoding="utf-8") as file:
        rows = itertools.islice(csv.DictReader(file), _DROPPED_TAGS_SHOWN)
        most = ", ".join(f"{row['tag']} ({row['works']})" for row in rows)
    print(
        f"tags that are no label: {counts['dropped_tags']} (dropped_tags.csv); most "
        f"frequent: {most or 'none'}"
    )
    for note in constant_labels.notes_on_dataset(
        built, counts=built.label_counts("train")
    ):
        print(f"note: {note}")
