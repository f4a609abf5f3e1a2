"""When the next request may go out: a steady pace, pauses, and a number a day."""

import collections
import datetime
import threading
import time
from collections.abc import Callable


class Pacer:
    """Hands out moments that are at least an interval apart, to any number of threads.

    Time is monotonic: setting the machine's clock changes nothing.
    """

    def __init__(
        self,
        interval_s: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        """Starts with a moment that is free at once.

        Args:
            interval_s: Seconds between two requests; 0 is no limit.
            clock: Returns seconds from any origin.
            sleep: Sleeps for so many seconds; may raise to end the wait.
        """
        self._interval_s = interval_s
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._next = clock()
        self._paused_until = clock()

    @property
    def interval_s(self) -> float:
        """Returns the seconds between two requests, as they are by now."""
        return self._interval_s

    def wait(self) -> None:
        """Returns when the caller may send its request."""
        while True:
            with self._lock:
                moment = max(self._clock(), self._next, self._paused_until)
                self._next = moment + self._interval_s
            self._sleep_until(moment)
            with self._lock:  # a pause may have begun meanwhile
                if moment >= self._paused_until:
                    return

    def pause(self, seconds: float) -> None:
        """Lets no request out for so long."""
        with self._lock:
            until = self._clock() + seconds
            self._paused_until = max(self._paused_until, until)

    def slow_down(self, pause_s: float) -> None:
        """Pauses and halves the rate: the site says that it was too high.

        What was under way when the pause began is answered in the same way, and halves
        nothing again.
        """
        with self._lock:
            now = self._clock()
            if now >= self._paused_until:
                self._interval_s *= 2
            self._paused_until = max(self._paused_until, now + pause_s)

    def _sleep_until(self, moment: float) -> None:
        while (seconds := moment - self._clock()) > 0:
            self._sleep(seconds)


class DailyCapError(Exception):
    """So many requests as allowed have gone out today."""


class DailyCount:
    """Counts requests by the day (UTC) and refuses those above the cap."""

    def __init__(
        self,
        cap: int | None,
        counts: dict[str, int],
        *,
        today: Callable[[], str] = lambda: (
            datetime.datetime.now(datetime.UTC).date().isoformat()
        ),
    ):
        """Goes on from what earlier runs counted.

        Args:
            cap: Most requests a day; None is no limit.
            counts: Day -> requests so far.
            today: Returns the day.
        """
        self._cap = cap
        self._counts = collections.Counter(counts)
        self._today = today
        self._lock = threading.Lock()

    def take(self) -> None:
        """Counts a request; raises DailyCapError where it is one too many."""
        with self._lock:
            day = self._today()
            if self._cap is not None and self._counts[day] >= self._cap:
                raise DailyCapError(
                    f"{self._cap} requests went out on {day} (UTC), as many as "
                    "--daily_cap allows; start the same command again tomorrow"
                )
            self._counts[day] += 1

    def counts(self) -> dict[str, int]:
        """Returns the requests of each day."""
        with self._lock:
            return dict(self._counts)
