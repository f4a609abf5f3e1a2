"""SIGTERM and Ctrl-C ask a run to stop; it then saves and exits."""

import contextlib
import signal
import types
from collections.abc import Iterator


class Interruption:
    """Remembers the first signal that asked to stop."""

    signal: int | None = None

    def _remember(self, number: int, frame: types.FrameType | None) -> None:
        del frame
        self.signal = number
        # A second Ctrl-C ends the process at once.
        signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def catch_signals() -> Iterator[Interruption]:
    """Catches SIGTERM and SIGINT while inside; look at `.signal` after each step."""
    interruption = Interruption()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, interruption._remember) for number in numbers]
    try:
        yield interruption
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
