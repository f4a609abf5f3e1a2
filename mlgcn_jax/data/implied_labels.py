"""Labels that imply others: a picture of cat ears is one of animal ears.

An `implications.csv` has the columns `label,implies`, a pair of labels a line.
"""

import graphlib
import pathlib
from collections.abc import Iterable, Mapping

from mlgcn_jax.data import labels, tables

_HEADER = ("label", "implies")
_SHIPPED = pathlib.Path(__file__).parent / "vocabularies" / "implications"


def read_implications(
    name_or_path: str, vocabulary: labels.Vocabulary
) -> dict[int, frozenset[int]]:
    """Returns label index -> indices of all labels that it implies, also over others.

    Args:
        name_or_path: An implications.csv, or the name of a shipped one: pixiv40.
        vocabulary: Of which all labels in the file must be.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no such table, has no pair, names what is no label, or
            labels imply each other in a circle.
    """
    path = pathlib.Path(name_or_path)
    shipped = _SHIPPED / f"{name_or_path}.csv"
    if path.suffix != ".csv" and shipped.is_file():
        path = shipped
    rows = tables.read_rows(path, _HEADER)
    if not rows:
        raise ValueError(f"{path} has no pair under its header; add one a line")
    index_of = {labels.normalize_tag(n): i for i, n in enumerate(vocabulary.labels)}
    direct: dict[int, set[int]] = {}
    for row in rows:
        for name in row:
            if labels.normalize_tag(name) not in index_of:
                raise ValueError(
                    f"{path}: {name!r} is no label of the vocabulary; name labels, "
                    "not aliases, or take the line out"
                )
        label, implied = (index_of[labels.normalize_tag(name)] for name in row)
        direct.setdefault(label, set()).add(implied)
    try:
        order = [*graphlib.TopologicalSorter(direct).static_order()]
    except graphlib.CycleError as error:
        circle = " -> ".join(vocabulary.labels[index] for index in error.args[1][::-1])
        raise ValueError(f"{path}: labels imply each other: {circle}") from error
    closure: dict[int, frozenset[int]] = {}
    for label in order:  # what a label implies comes before it
        implied = direct.get(label, set())
        further = [closure.get(index, frozenset()) for index in implied]
        closure[label] = frozenset(implied).union(*further)
    return {label: implied for label, implied in closure.items() if implied}


def apply(
    indices: Iterable[int], implied: Mapping[int, frozenset[int]]
) -> tuple[int, ...]:
    """Returns sorted label indices with all that they imply."""
    given = set(indices)
    return tuple(sorted(given.union(*(implied.get(i, ()) for i in given))))
