"""The examinations of all processes of a job, compared and put together by the first.

What they tell each other goes by way of the coordinator (`runs.coordinator`).
"""

import json
import pathlib
import time
from collections.abc import Iterator

from mlgcn_jax.doctor import findings, fingerprints
from mlgcn_jax.doctor.examination import Examination
from mlgcn_jax.runs import cluster, coordinator

PART = "processes"
_FINGERPRINTS, _SAME, _REPORT, _STATUS = "fingerprints", "same", "report", "status"
_SHOWN = 5  # names of what differs
_ADVICE = {
    "code": "install the same mlgcn-jax for all, or start them from one shared folder",
    "versions": "install the same packages for all (requirements/), and one driver",
    "XLA_FLAGS": "set the same XLA_FLAGS for all",
    "devices": "mend what that process says of its devices",
    "data": "copy the dataset anew, or name one on storage that all share",
}


def compare(
    examination: Examination,
    data_dir: pathlib.Path | None,
    *,
    can_send: bool,
    end: float,
) -> bool:
    """Looks whether all processes have the same code, versions, flags and data.

    Args:
        examination: The first process's gets the findings.
        data_dir: Of a dataset, or None.
        can_send: Whether this process has devices.
        end: When waiting for the others ends, of `time.monotonic()`.

    Returns:
        Whether all are there, alike and with devices: else messages between their
        devices may wait for ever.
    """
    ours = fingerprints.take(data_dir)
    ours["devices"] = {"usable": str(can_send)}
    coordinator.tell(_FINGERPRINTS, json.dumps(ours))
    if coordinator.index():
        return coordinator.hear(_SAME, 0, timeout_s=_left(end)) == "yes"
    taken = {
        process: coordinator.hear(_FINGERPRINTS, process, timeout_s=_left(end))
        for process in range(coordinator.count())
    }
    found = examination.look(PART, lambda: _differences(taken))
    are_same = findings.worst(found) == "ok"
    coordinator.tell(_SAME, "yes" if are_same else "no")
    return are_same


def tell_report(examination: Examination) -> None:
    """Tells the first process what was found here."""
    report = [finding.to_dict() for finding in examination.found]
    coordinator.tell(_REPORT, json.dumps(report))


def collect_reports(examination: Examination, *, end: float) -> list[int]:
    """Adds what the others found; returns those that did not tell in time."""
    silent = []
    for process in range(1, coordinator.count()):
        text = coordinator.hear(_REPORT, process, timeout_s=_left(end))
        if text is None:
            silent.append(process)
        else:
            examination.found += [findings.Finding(**f) for f in json.loads(text)]
    if silent:
        examination.add(_silent(silent))
    return silent


def tell_status(status: int) -> None:
    """Tells the others, where there are some, the exit status of all."""
    if coordinator.count() > 1:
        coordinator.tell(_STATUS, str(status))


def hear_status(*, end: float) -> int:
    """Returns the exit status of all.

    Raises:
        JoinError: the first process does not say it.
    """
    text = coordinator.hear(_STATUS, 0, timeout_s=_left(end))
    if text is None:
        raise cluster.JoinError("process 0 is gone, or stuck: it says nothing")
    return int(text)


def _differences(taken: dict[int, str | None]) -> Iterator[findings.Finding]:
    """Yields for each kind whether all have what the first has."""
    known = {process: json.loads(text) for process, text in taken.items() if text}
    first = known[0]
    for kind, ours in first.items():
        others = {
            process: fingerprints.differences(ours, theirs.get(kind, {}))
            for process, theirs in known.items()
        }
        apart = {process: names for process, names in others.items() if names}
        told = [
            f"process {process}: {', '.join(names[:_SHOWN])}"
            + " ..." * (len(names) > _SHOWN)
            for process, names in apart.items()
        ]
        yield findings.Finding(
            PART,
            kind,
            "; ".join(told) or f"the same in {len(known)}",
            expected="the same as in process 0" if told else "",
            status="fault" if told else "ok",
            advice=_ADVICE[kind] if told else "",
        )
    if missing := [process for process, text in taken.items() if text is None]:
        yield _silent(missing)


def _silent(missing: list[int]) -> findings.Finding:
    return findings.Finding(
        PART,
        "silent",
        f"process {', '.join(map(str, missing))} of {coordinator.count()}",
        expected="an answer",
        status="fault",
        advice="look at what they say themselves, and at their hosts",
    )


def _left(end: float) -> float:
    return max(1.0, end - time.monotonic())
