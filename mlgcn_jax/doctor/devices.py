"""The devices of this process, and their memory."""

import os
from collections.abc import Iterator, Mapping

import jax

from mlgcn_jax.doctor import findings
from mlgcn_jax.runs import machine

PART = "devices"
_GIB = 2**30
_NONE = (
    "install JAX for the accelerator (pip install 'mlgcn-jax[cuda12]' or [tpu]), look "
    "whether its driver answers (nvidia-smi), or compute without it: JAX_PLATFORMS=cpu"
)


def check() -> Iterator[findings.Finding]:
    """Yields the devices; a fault where there are none."""
    try:
        devices = jax.local_devices()
    except Exception as error:  # RuntimeError, or an AssertionError of JAX's
        asked = os.environ.get("JAX_PLATFORMS")
        name = f"devices (JAX_PLATFORMS={asked})" if asked else "devices"
        yield findings.failed(PART, name, error, advice=_NONE)
        return
    for device in devices:
        yield findings.Finding(
            PART,
            str(device),
            f"{device.device_kind}{_memory(device.memory_stats() or {})}",
        )
    if devices[0].platform == "cpu":
        cores = len(os.sched_getaffinity(0))
        host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        yield findings.Finding(PART, "host", f"{cores} cores, {host / _GIB:.1f} GiB")
        gpus = machine.Machine().num_gpus()
        if gpus and "JAX_PLATFORMS" not in os.environ:
            yield findings.Finding(
                PART,
                "GPUs of this machine that are not used",
                gpus,
                expected="0",
                status="warning",
                advice=_NONE,
            )


def _memory(counted: Mapping[str, int]) -> str:
    if "bytes_limit" not in counted:
        return ""
    used, limit = counted.get("bytes_in_use", 0), counted["bytes_limit"]
    return f", {used / _GIB:.1f} of {limit / _GIB:.1f} GiB in use"
