"""What was found, as a table for people and as JSON with stable keys."""

import collections
from typing import Any

from mlgcn_jax.doctor import findings

_MARKS = {"ok": "ok", "warning": "WARNING", "fault": "FAULT"}


def to_json(
    found: list[findings.Finding], *, num_processes: int, seconds: float
) -> dict[str, Any]:
    """Returns `status`, `seconds`, `processes`, `versions` and all `findings`."""
    return {
        "status": findings.worst(found),
        "seconds": round(seconds, 2),
        "processes": num_processes,
        "versions": {
            finding.name: finding.value
            for finding in found
            if finding.part == "versions" and not finding.process
        },
        "findings": [finding.to_dict() for finding in found],
    }


def to_text(
    found: list[findings.Finding], *, num_processes: int, seconds: float
) -> str:
    """Returns a line for each finding of the first process, and what is to be done.

    Of the others those that are not well.
    """
    shown = [f for f in found if not f.process or f.status != "ok"]
    width = max((len(f.part) for f in shown), default=0)
    lines = []
    for finding in shown:
        where = f"process {finding.process}: " if finding.process else ""
        lines.append(
            f"{_MARKS[finding.status]:8}{finding.part:{width}}  {where}{finding.name}  "
            f"{_value(finding)}"
        )
        if finding.status != "ok" and finding.advice:
            lines.append(f"{'':8}{'':{width}}  -> {finding.advice}")
    counts = collections.Counter(finding.status for finding in found)
    summary = ", ".join(
        f"{counts[status]} {noun}{'s' * (counts[status] != 1)}"
        for status, noun in (("fault", "fault"), ("warning", "warning"))
    )
    of = f" of {num_processes} processes" if num_processes > 1 else ""
    return "\n".join(
        [*lines, f"{summary} among {len(found)} findings{of}, {seconds:.0f} s"]
    )


def _value(finding: findings.Finding) -> str:
    value, expected = finding.value, finding.expected
    is_measured = isinstance(value, float)
    text = f"{value:.2g}" if is_measured else str(value)
    if expected and (is_measured or finding.status != "ok"):
        return f"{text} (expected {expected})"
    return text
