"""Labels that (nearly) every picture has: what is learnt and measured of them.

Where a share s of the pictures has a label, a ranking by chance has an AP of about s,
and a model that calls every picture that an F1 of 2s / (1 + s). A vocabulary of one
label scores a perfect 1 where the pictures without it were left out.
"""

import collections
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int64, Integer

from mlgcn_jax.data import source

# From this share of the pictures on: AP of chance 0.95, F1 of "always" 0.974.
NEARLY_EVERY = 0.95
_SHOWN = 10  # names in a note


def find(
    counts: Integer[np.ndarray, " l"], num_examples: int
) -> Int64[np.ndarray, " k"]:
    """Returns the indices of the labels that at least 95 % of the examples have.

    Args:
        counts: Number of examples that have each label.
        num_examples: Of which they were counted; of none there are no such labels.
    """
    shares = counts / max(num_examples, 1)
    return np.flatnonzero(shares >= NEARLY_EVERY).astype(np.int64)


def note(names: Sequence[str], *, splits: Sequence[str], is_all: bool) -> str:
    """Returns one line that says what these labels do to a score, and what helps.

    Args:
        names: Of the labels, one at least.
        splits: In which (nearly) every picture has them.
        is_all: Whether no label of those splits is another.
    """
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    what = f"the label {shown}" if len(names) == 1 else f"{len(names)} labels: {shown}"
    where = f"the {' and the '.join(splits)} split"
    effect = (
        "mAP, CF1 and OF1 mean nothing"
        if is_all
        else "its part of mAP, CF1 and OF1 means nothing"
    )
    return (
        f"(nearly) every picture of {where} has {what}; a model that always says so is "
        f"right, and {effect} without negatives: keep the pictures that have none of "
        "the labels (mlgcn build --negatives=keep, config.build.negatives), add some, "
        "or leave such labels out"
    )


def notes(
    labels: Sequence[str], counted: Mapping[str, tuple[Integer[np.ndarray, " l"], int]]
) -> list[str]:
    """Returns a `note` for splits that have such labels; none where none has.

    Args:
        labels: The vocabulary.
        counted: Split -> number of examples with each label, and number of examples.
    """
    found: dict[tuple[tuple[str, ...], bool], list[str]] = collections.defaultdict(list)
    for split, (counts, num_examples) in counted.items():
        names = tuple(labels[int(index)] for index in find(counts, num_examples))
        found[names, len(names) == np.count_nonzero(counts)].append(split)
    return [
        note(names, splits=splits, is_all=bool(is_all))
        for (names, is_all), splits in found.items()
        if names
    ]


def notes_on_dataset(
    data: source.Opened, *, counts: Integer[np.ndarray, " l"]
) -> list[str]:
    """Returns the `notes` on the training split, whose counts are known, and the other.

    Args:
        data: The dataset.
        counts: Number of its training examples that have each label.
    """
    counted = {
        "train": (counts, data.num_examples("train")),
        "validation": (
            data.label_counts("validation"),
            data.num_examples("validation"),
        ),
    }
    return notes(data.vocabulary.labels, counted)
