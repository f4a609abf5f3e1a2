"""How much memory this process takes, on its host and on its devices."""

import os
import pathlib

import jax

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


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
