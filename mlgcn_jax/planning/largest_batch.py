"""The largest batch that fits into a chip's memory, found by compiling."""

from collections.abc import Callable
from typing import NamedTuple


class Found(NamedTuple):
    """What is known of the largest batch; images are those of one chip.

    Attributes:
        fits: the most images that were seen to fit; 0 where none were.
        too_many: the fewest that were seen not to; None where none were.
        compilations: that it took.
    """

    fits: int
    too_many: int | None
    compilations: int

    @property
    def is_exact(self) -> bool:
        """Whether one more image was seen not to fit."""
        return self.too_many == self.fits + 1


def search(
    peak_bytes: Callable[[int], int | None],
    *,
    known: dict[int, int | None],
    memory_bytes: int,
    max_compilations: int,
) -> Found:
    """Returns the largest batch, as well as some compilations can tell.

    Memory grows almost evenly with the images, so a straight line through the two
    batches nearest to the limit says what to compile next.

    Args:
        peak_bytes: compiles for so many images a chip; None: the compiler gave up.
        known: the same for those that are known, 0 (the state alone) among them.
        memory_bytes: of a chip.
        max_compilations: the most calls of `peak_bytes`.
    """
    known = dict(known)
    compilations = 0
    while True:
        fits, too_many = _bracket(known, memory_bytes)
        found = Found(fits, too_many, compilations)
        if found.is_exact or compilations == max_compilations:
            return found
        guess = _guess(known, memory_bytes)
        if guess is None or (too_many is not None and not fits < guess < too_many):
            guess = (fits + (too_many or 2 * fits + 2)) // 2
        guess = max(guess, fits + 1)
        known[guess] = peak_bytes(guess)
        compilations += 1


def _bracket(known: dict[int, int | None], memory_bytes: int) -> tuple[int, int | None]:
    does_fit = {n: p is not None and p <= memory_bytes for n, p in known.items()}
    too_many = min((n for n, fits in does_fit.items() if not fits), default=None)
    fits = max(
        (n for n, f in does_fit.items() if f and (too_many is None or n < too_many)),
        default=0,
    )
    return fits, too_many


def _guess(known: dict[int, int | None], memory_bytes: int) -> int | None:
    """Returns where the line through the two batches nearest to the limit meets it."""
    peaks = {n: peak for n, peak in known.items() if peak is not None}
    nearest = sorted(peaks, key=lambda n: abs(peaks[n] - memory_bytes))[:2]
    if len(nearest) < 2:
        return None
    a, b = sorted(nearest)
    if peaks[b] <= peaks[a]:
        return None
    return a + (memory_bytes - peaks[a]) * (b - a) // (peaks[b] - peaks[a])
