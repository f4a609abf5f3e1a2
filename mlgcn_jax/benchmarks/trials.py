"""The largest batch that a device has memory for, sought alike by all frameworks."""

from collections.abc import Callable

from mlgcn_jax.planning import largest_batch

_STEP = 8  # images
_MOST_TRIALS = 8


def find_largest_batch(
    peak_bytes: Callable[[int], int | None], *, memory_bytes: int
) -> int:
    """Returns the largest number of images, a multiple of eight, that fits.

    Args:
        peak_bytes: returns what a train step of so many needs; None: too much.
        memory_bytes: that there are.

    Raises:
        ValueError: none was found.
    """
    found = largest_batch.search(
        lambda steps: peak_bytes(_STEP * steps),
        known={},
        memory_bytes=memory_bytes,
        max_compilations=_MOST_TRIALS,
    )
    if not found.fits:
        raise ValueError(f"{memory_bytes:,} bytes are too few for {_STEP} images")
    return _STEP * found.fits
