"""The state of a crawl as people read it."""

import datetime
from typing import Any

_COLUMNS = ("works", "excluded", "owed", "over_quota", "done", "failed", "gone")
_MOST_LINES = 10  # of a list


def format_status(status: dict[str, Any]) -> str:
    """Returns the text of what `status.read` returns."""
    windows, pictures = status["windows"], status["pictures"]
    ended = windows["done"] + windows["split"] + windows["overflow"]
    lines = [
        f"windows   {ended:,} listed, {windows['open']:,} open, "
        f"{windows['failed']:,} failed",
        f"works     {status['works']:,}, left out: {_reasons(status['excluded'])}",
        "pictures  "
        + ", ".join(f"{n:,} {s.replace('_', ' ')}" for s, n in pictures.items())
        + f"; {status['bytes'] / 1e6:,.1f} MB",
        f"failed    {_reasons(status['failed'])}",
        f"time left {_duration(status['forecast']['list_s'])} to list, "
        f"{_duration(status['forecast']['fetch_s'])} to fetch",
    ]
    if status["malformed_works"]:
        lines.append(f"malformed {status['malformed_works']:,} works without id or URL")
    lines += _window_lines("overflow", status["overflows"])
    lines += _window_lines("failed", status["failed_windows"])
    if status["labels"]:
        width = max(len(label) for label in status["labels"])
        header = " ".join(f"{name.replace('_', ' '):>10}" for name in _COLUMNS)
        lines += ["", f"{'label':{width}} {header}"]
        for label, counts in status["labels"].items():
            row = " ".join(f"{counts[name]:>10,}" for name in _COLUMNS)
            lines.append(f"{label:{width}} {row}")
    return "\n".join(lines)


def _reasons(counts: dict[str, int]) -> str:
    most = list(counts.items())[:_MOST_LINES]
    rest = sum(counts.values()) - sum(number for _, number in most)
    texts = [f"{number:,} {reason}" for reason, number in most]
    return ", ".join(texts + [f"{rest:,} others"] * (rest > 0)) or "none"


def _window_lines(name: str, windows: list[dict[str, Any]]) -> list[str]:
    lines = [
        f"{name:9} {window['tag']}, {window['first']} to {window['last']}: "
        + (
            window["reason"]
            or f"more than the {window['works']:,} works that the site shows"
        )
        for window in windows[:_MOST_LINES]
    ]
    rest = len(windows) - len(lines)
    return lines + [f"{name:9} {rest:,} more"] * (rest > 0)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    return str(datetime.timedelta(seconds=round(seconds)))
