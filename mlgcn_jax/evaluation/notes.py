"""What a reader must know before believing the scores of a split."""

from collections.abc import Mapping
from typing import Any

from mlgcn_jax.data import constant_labels
from mlgcn_jax.evaluation import metrics


def format_notes(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the notes on the rows of a table, each once, a line each.

    Args:
        rows: name -> the metrics that `evaluate.evaluate_run` returned or wrote, or
            `seeds.summarize` of some.
    """
    runs = [
        run for row in rows.values() for run in row.get("seeds", {"": row}).values()
    ]
    lines = dict.fromkeys(line for run in runs for line in notes(run))
    return "".join(f"note: {line}\n" for line in lines)


def notes(results: Mapping[str, Any]) -> list[str]:
    """Returns what scores of an evaluation say nothing of the model; often nothing.

    Args:
        results: the metrics that `evaluate.evaluate_run` returned or wrote.
    """
    lines = []
    num_labels = results["num_labels"]
    num_scored = num_labels - results["labels_without_positives"]
    if constant := results.get("labels_in_nearly_all_examples"):  # older files lack it
        lines.append(
            constant_labels.note(
                constant,
                splits=[results["split"]],
                is_all=len(constant) == num_scored,
            )
        )
    if num_scored < num_labels:
        lines.append(
            f"labels on no picture of the {results['split']} split: "
            f"{num_labels - num_scored} of {num_labels}; mAP, CP, CR and CF1 leave "
            "them out"
        )
    if num_labels <= metrics.TOP_K:
        lines.append(
            f"top-{metrics.TOP_K} is all labels here ({num_labels}): its CF1 and OF1 "
            "say nothing of the model"
        )
    return lines
