"""Metrics as text for a terminal, laid out like Tables 1 and 2 of the paper."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_COLUMNS = ("mAP", "CF1", "OF1", "top-3 CF1", "top-3 OF1")
_SHOWN = 10  # labels at either end


def format_table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns one line a model, in percent (Table 2).

    Args:
        rows: name of the model -> what `metrics.compute_metrics` returned, or
            `seeds.summarize`, whose standard deviations are shown too.
    """
    lines = [("model", _COLUMNS)] + [(name, _cells(row)) for name, row in rows.items()]
    names, cells = zip(*lines, strict=True)
    name_width = max(map(len, names))
    widths = [max(5, *map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        _line(name.ljust(name_width), line, widths) for name, line in lines
    )


def _cells(row: Mapping[str, Any]) -> Sequence[str]:
    std = row.get("std")
    spread = _values(std) if std else [None] * len(_COLUMNS)
    return [
        ("-" if mean is None else f"{100 * mean:.1f}")
        + ("" if deviation is None else f" ± {100 * deviation:.1f}")
        for mean, deviation in zip(_values(row), spread, strict=True)
    ]


def _values(row: Mapping[str, Any]) -> list[float | None]:
    """Returns the numbers of a line, in the order of the columns."""
    top3 = row["top3"]
    return [row["mAP"], row["CF1"], row["OF1"], top3["CF1"], top3["OF1"]]


def format_per_label(labels: Sequence[str], columns: Mapping[str, np.ndarray]) -> str:
    """Returns AP in percent, best labels first; the middle of a long list is left out.

    Args:
        labels: names.
        columns: what `metrics.per_label_metrics` returned; labels without a positive
            have no AP and are left out.
    """
    ap, num_positives = columns["ap"], columns["num_positives"]
    order = np.argsort(-ap, kind="stable")[: np.count_nonzero(~np.isnan(ap))]
    lines = [
        f"{100 * ap[i]:5.1f} {num_positives[i]:10,}  {labels[int(i)]}" for i in order
    ]
    hidden = len(lines) - 2 * _SHOWN
    if hidden > 0:
        lines[_SHOWN:-_SHOWN] = [f"  ... {hidden:,} more labels"]
    return "\n".join(["   AP  positives  label", *lines])


def _line(name: str, cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join([name, *padded])
