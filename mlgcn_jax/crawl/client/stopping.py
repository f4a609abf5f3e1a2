"""How the threads of a crawl are told to stop, wherever they wait."""

import threading


class StoppedError(Exception):
    """The crawl is being ended; what is half done is dropped."""


class Stop:
    """A flag that all threads look at, and sleep under."""

    def __init__(self) -> None:
        """Not set."""
        self._event = threading.Event()

    def set(self) -> None:
        """Wakes and stops everybody."""
        self._event.set()

    def check(self) -> None:
        """Raises StoppedError once the flag is set."""
        if self._event.is_set():
            raise StoppedError

    def sleep(self, seconds: float) -> None:
        """Sleeps; raises StoppedError as soon as the flag is set."""
        if self._event.wait(max(0.0, seconds)):
            raise StoppedError
