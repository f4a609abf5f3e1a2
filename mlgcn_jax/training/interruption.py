"""SIGTERM and Ctrl-C ask a run to stop; it then saves and exits.

Where a run has several processes, a signal to one of them stops all of them, at the
same check: JAX's runtime takes SIGTERM, tells the others, and settles on a check that
none of them has passed yet.
"""

import contextlib
import os
import signal
import types
from collections.abc import Iterator

from jax.experimental import multihost_utils

from mlgcn_jax.runs import processes


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


class _SharedInterruption(Interruption):
    """The same for several processes, which check equally often."""

    def __init__(self) -> None:
        self._checks = 0
        self._asked_by: int | None = None

    def check(self) -> None:
        self._checks += 1
        if self.signal is None and multihost_utils.reached_preemption_sync_point(
            self._checks
        ):
            self.signal = self._asked_by or signal.SIGTERM
        super().check()

    def _remember(self, number: int, frame: types.FrameType | None) -> None:
        """Makes a Ctrl-C a SIGTERM, which the runtime takes."""
        del frame
        self._asked_by = number
        signal.signal(number, signal.SIG_DFL)  # a second one ends the process
        os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def catch_signals() -> Iterator[Interruption]:
    """Catches SIGTERM and SIGINT while inside; `check` where it is good to stop."""
    if processes.count() == 1:
        interruption, numbers = Interruption(), (signal.SIGTERM, signal.SIGINT)
    else:
        interruption, numbers = _SharedInterruption(), (signal.SIGINT,)
    before = [signal.signal(number, interruption._remember) for number in numbers]
    try:
        yield interruption
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
