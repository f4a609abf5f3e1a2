"""What may be tried again, how often, and after how long."""

import datetime
import email.utils
import random
from collections.abc import Callable, Mapping
from typing import TypeVar

_T = TypeVar("_T")
_LONGEST_WAIT_S = 24 * 3600.0  # whatever a site asks for


class RetryableError(Exception):
    """A request failed in a way that may pass; the message names no id and no URL."""


class GaveUpError(Exception):
    """A request failed as often as its budget allows; says how the last time."""


class Retrier:
    """Tries with growing, random pauses; has no state, so threads share one."""

    def __init__(
        self,
        attempts: int,
        *,
        sleep: Callable[[float], None],
        first_wait_s: float = 1.0,
        longest_wait_s: float = 60.0,
    ):
        """Sets the budget of each call.

        Args:
            attempts: How often at most, at least 1.
            sleep: Sleeps for so many seconds; may raise to end the wait.
            first_wait_s: Pause after the first failure; doubled after each further one.
            longest_wait_s: Where doubling ends.
        """
        self._attempts = attempts
        self._sleep = sleep
        self._first_wait_s = first_wait_s
        self._longest_wait_s = longest_wait_s

    def call(self, attempt: Callable[[], _T]) -> _T:
        """Returns what `attempt` returns.

        Raises:
            GaveUpError: It raised RetryableError every time.
        """
        for number in range(self._attempts):
            try:
                return attempt()
            except RetryableError as error:
                if number + 1 == self._attempts:
                    raise GaveUpError(str(error)) from error
                wait_s = min(self._first_wait_s * 2**number, self._longest_wait_s)
                # Random, so that threads that failed together do not return together.
                self._sleep(wait_s * random.uniform(0.5, 1.0))
        raise AssertionError("attempts is at least 1")


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Returns the seconds that a Retry-After header asks for; None where there is none.

    A date is compared with the Date of the same answer: our clock may be wrong.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), _LONGEST_WAIT_S)
    moment = _parse_date(value)
    if moment is None:
        return None
    sent = _parse_date(headers.get("date", ""))
    now = sent or datetime.datetime.now(datetime.UTC)
    return min(max(0.0, (moment - now).total_seconds()), _LONGEST_WAIT_S)


def _parse_date(text: str) -> datetime.datetime | None:
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (ValueError, IndexError, TypeError):  # raised for various kinds of garbage
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
