"""SIGTERM and Ctrl-C ask a run to stop; it then saves and exits."""

import contextlib
import signal
import types
from collections.abc import Iterator


class Interrupted(Exception):
    """A signal asked to stop, and now is a good moment."""


class Interruption:
    """Remembers the first signal that asked to stop."""

    signal: int | None = None

    def check(self) -> None:
        """Raises Interrupted where a signal has asked to stop."""
        if self.signal is not None:
            raise Interrupted

    def _remember(self, number: int, frame: types.FrameType | None) -> None:
        del frame
        if self.signal is None:
            self.signal = number
        if number == signal.SIGINT:
            # A second Ctrl-C ends the process at once. A second SIGTERM does not:
            # schedulers repeat it while the run is saving.
            signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def catch_signals() -> Iterator[Interruption]:
    """Catches SIGTERM and SIGINT while inside; `check` where it is good to stop."""
    interruption = Interruption()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, interruption._remember) for number in numbers]
    try:
        yield interruption
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
