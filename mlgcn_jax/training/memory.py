"""How much memory this process takes, and what is said where there is too little."""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
from absl import logging

from mlgcn_jax.data import error_text
from mlgcn_jax.devices import program_memory
from mlgcn_jax.runs import processes

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class OutOfMemoryError(ValueError):
    """A config asks for more memory than its host or a device has."""


class Step(NamedTuple):
    """A step that may need too much.

    Attributes:
        step_fn: jit-compiled function of `arguments`.
        arguments: shapes of what it is given, the state first.
        batch_size: images of it, over all devices.
        multiple_of: what a batch can be divided into.
    """

    step_fn: Any
    arguments: tuple[Any, ...]
    batch_size: int
    multiple_of: int


class Exhaustion:
    """What is known when memory runs out.

    Attributes:
        step: that is being done; None: none yet.
    """

    step: Step | None = None


@contextlib.contextmanager
def exhaustion_told() -> Iterator[Exhaustion]:
    """Says what to do where memory runs out inside; yields where to say in what step.

    Raises:
        OutOfMemoryError: in the place of what JAX and NumPy raise.
    """
    exhaustion = Exhaustion()
    try:
        yield exhaustion
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        first = error_text.first_line(error)
        said = ("RESOURCE_EXHAUSTED", "Out of memory")
        if not isinstance(error, MemoryError) and not any(s in first for s in said):
            raise
        fits = _largest_batch(exhaustion.step) if exhaustion.step else None
        smaller = "config.batch_size" if fits is None else f"config.batch_size ({fits})"
        raise OutOfMemoryError(
            f"there is too little memory for this config ({first}); use a smaller "
            f"{smaller} or image_size, config.accumulation_steps, config.remat, "
            "or more devices"
        ) from error


def device_bytes() -> int | None:
    """Returns how much a device may take; None where its backend does not say."""
    return (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")


def _largest_batch(step: Step) -> str | None:
    """Returns in words how many images there is memory for, by the compiler's count.

    None where the device does not say what it has (CPUs), or several processes would
    have to compile together.
    """
    limit = device_bytes()
    if limit is None or processes.count() > 1:
        return None
    try:
        peak = program_memory.peak_bytes(step.step_fn.lower(*step.arguments).compile())
    except jax.errors.JaxRuntimeError as error:
        logging.warning("what the step needs is not known: %s", error)
        return None
    state = program_memory.bytes_of(step.arguments[0])
    images = program_memory.largest_batch(
        memory_bytes=limit,
        batch_size=step.batch_size,
        peak_bytes=peak,
        state_bytes=state,
    )
    fits = images // step.multiple_of * step.multiple_of
    if fits == 0:
        return None
    return (
        f"about {fits:,} images fit: {step.batch_size:,} need {_gib(peak)} of the "
        f"{_gib(limit)} of a device"
    )


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.1f} GiB"


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
