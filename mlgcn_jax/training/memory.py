"""How much memory this process takes, and what is said where there is too little."""

import contextlib
import os
import pathlib
from collections.abc import Iterator

import jax

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class OutOfMemoryError(ValueError):
    """A config asks for more memory than its host or a device has."""


@contextlib.contextmanager
def exhaustion_told() -> Iterator[None]:
    """Says what to do where memory runs out inside.

    Raises:
        OutOfMemoryError: in the place of what JAX and NumPy raise.
    """
    try:
        yield
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        first = (str(error).splitlines() or [""])[0]
        said = ("RESOURCE_EXHAUSTED", "Out of memory")
        if not isinstance(error, MemoryError) and not any(s in first for s in said):
            raise
        raise OutOfMemoryError(
            f"there is too little memory for this config ({first}); use a smaller "
            "config.batch_size or image_size, config.accumulation_steps, config.remat, "
            "or more devices"
        ) from error


def in_use() -> dict[str, int]:
    """Returns bytes of this process now, and the peak of its fullest device.

    Keys: `host_memory_bytes` (resident), `device_peak_memory_bytes` and
    `device_memory_bytes` (what it may take), the latter two only where the backend
    counts them (CPUs do not).
    """
    pages = pathlib.Path("/proc/self/statm").read_text().split()
    used = {"host_memory_bytes": int(pages[1]) * _PAGE_BYTES}
    counted = [device.memory_stats() or {} for device in jax.local_devices()]
    fullest = max(counted, key=lambda stats: stats.get("peak_bytes_in_use", 0))
    for name, key in (
        ("device_peak_memory_bytes", "peak_bytes_in_use"),
        ("device_memory_bytes", "bytes_limit"),
    ):
        if key in fullest:
            used[name] = int(fullest[key])
    return used
