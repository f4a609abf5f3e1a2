"""What the doctor finds: one record for each thing that was looked at."""

import dataclasses
from typing import Any, Literal

Status = Literal["ok", "warning", "fault"]


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        part: What it belongs to: `versions`, `numbers`, ...
        name: What was looked at.
        value: What was found.
        expected: What should have been, where there is such a thing.
        status: `warning` is slow or may become wrong, `fault` is wrong.
        advice: What to do, where not all is well.
        process: That found it, from 0.
    """

    part: str
    name: str
    value: str | int | float | bool | None = None
    expected: str = ""
    status: Status = "ok"
    advice: str = ""
    process: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Returns it for JSON."""
        return dataclasses.asdict(self)


def failed(part: str, name: str, error: BaseException, *, advice: str = "") -> Finding:
    """Returns the fault that something could not be done at all."""
    said = str(error).strip().splitlines()
    return Finding(
        part,
        name,
        f"{type(error).__name__}: {said[0] if said else 'says nothing'}",
        status="fault",
        advice=advice or "mend what it says, and run `mlgcn doctor` again",
    )


def worst(found: list[Finding]) -> Status:
    """Returns the status of all together."""
    statuses = {finding.status for finding in found}
    if "fault" in statuses:
        return "fault"
    return "warning" if "warning" in statuses else "ok"
