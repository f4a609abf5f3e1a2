"""Says now and then how far a run is."""

import time

from absl import logging

_EVERY_S = 10.0


class Progress:
    """Counts, and logs a line every ten seconds."""

    def __init__(self, noun: str):
        """Starts at 0.

        Args:
            noun: What is counted, in the plural.
        """
        self._noun = noun
        self._begin = self._told = time.monotonic()
        self._count = 0

    def add(self, number: int, rest: str) -> None:
        """Counts; `rest` is what else a line says."""
        self._count += number
        now = time.monotonic()
        if now - self._told >= _EVERY_S:
            self._told = now
            rate = self._count / (now - self._begin)
            logging.info("%d %s, %.3g/s; %s", self._count, self._noun, rate, rest)
