"""Metrics of runs that differ in their seed alone -> mean and standard deviation."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def summarize(by_seed: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the means, under the names of the metrics, and what they are made of.

    Under `std` are the standard deviations of the sample (divisor n - 1; None of a
    single run), under `seeds` the metrics of each.

    Args:
        by_seed: seed -> what `metrics.compute_metrics` returned; one at least.
    """
    runs = list(by_seed.values())
    return {
        **_combine(runs, statistics.fmean),
        "std": _combine(runs, lambda v: statistics.stdev(v) if len(v) > 1 else None),
        "seeds": {str(seed): run for seed, run in by_seed.items()},
    }


def _combine(
    runs: Sequence[Mapping[str, Any]], function: Callable[[list[float]], float | None]
) -> dict[str, Any]:
    """Combines each metric over the runs; names and counts are no metrics."""
    combined = {}
    for name, value in runs[0].items():
        values = [run[name] for run in runs]
        if isinstance(value, dict):
            combined[name] = _combine(values, function)
        elif isinstance(value, float):
            combined[name] = function(values)
        elif value is None:  # the dataset has no mAP, so no run has
            combined[name] = None
    return combined
