"""Spans of days to search, such that no search meets the limits of the site.

A search shows 5,000 works and no more, and a span of more than a year is said to be cut
to one year without a word. So a crawl asks for windows: both ends given, at most 360
days; where a window holds more than it can show, the rest becomes windows of its own.
"""

import dataclasses
import datetime
from collections.abc import Iterator

MAX_OFFSET = 5000  # of a search; the site refuses more
MAX_DAYS = 360  # of a window; the site's limit is 365
_DAY = datetime.timedelta(days=1)


@dataclasses.dataclass(frozen=True)
class Window:
    """Days, both ends included.

    Attributes:
        first: The earliest day.
        last: The latest day.
    """

    first: datetime.date
    last: datetime.date

    @property
    def days(self) -> int:
        """Returns how many."""
        return (self.last - self.first).days + 1


def plan(first: datetime.date, last: datetime.date) -> Iterator[Window]:
    """Yields windows that cover the days, the latest first.

    Neighbours share a day: of a day at an edge nobody knows in which time zone the site
    counts it.
    """
    while (last - first).days >= MAX_DAYS:
        yield Window(last - (MAX_DAYS - 1) * _DAY, last)
        last -= (MAX_DAYS - 1) * _DAY
    yield Window(first, last)


def rest(window: Window, oldest_seen: datetime.date | None) -> list[Window]:
    """Returns the windows for what a window did not show; [] where none is smaller.

    Works come newest first, so what is left is no younger than the oldest that was
    seen; a day is added, as in `plan`.

    Args:
        window: It has more works than a search shows.
        oldest_seen: Day of the last work that was shown; None where unknown.
    """
    if window.days == 1:
        return []
    if oldest_seen is None or not window.first <= oldest_seen <= window.last:
        oldest_seen = window.first + (window.last - window.first) // 2
    end = oldest_seen + _DAY
    if end < window.last:
        return [Window(window.first, end)]
    # Its last day or two fill all that is shown.
    return [
        Window(window.last, window.last),
        Window(window.first, window.last - _DAY),
    ]
