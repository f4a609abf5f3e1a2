"""Where the time of a device goes: the kernels of a trace, the most expensive first."""

import collections
import pathlib
from typing import Any, NamedTuple

import jax

_DEVICES = ("/device:GPU:", "/device:TPU:")
_HOST = "/host:CPU"  # on which XLA's threads run where the CPU is the device
# Lines of a plane that hold kernels: streams of a GPU, "XLA Ops" of a TPU; on a CPU the
# threads of XLA. Others repeat them by module, step or name of the program.
_LINES = ("Stream #", "XLA Ops", "tf_XLA")


class Kernel(NamedTuple):
    """All runs of a kernel in a trace.

    Attributes:
        name: as the compiler named it.
        seconds: of all runs together.
        share: of the time of all kernels.
        count: of its runs.
    """

    name: str
    seconds: float
    share: float
    count: int


def most_expensive(folder: pathlib.Path, *, most: int) -> list[Kernel]:
    """Returns the `most` most expensive kernels of a trace that `jax.profiler` wrote.

    Raises:
        ValueError: there is no trace in the folder, or no kernel in it.
    """
    files = sorted(folder.rglob("*.xplane.pb"))
    if not files:
        raise ValueError(f"{folder} has no trace")
    planes = list(jax.profiler.ProfileData.from_file(str(files[-1])).planes)
    devices = [plane for plane in planes if plane.name.startswith(_DEVICES)]
    seconds: collections.Counter[str] = collections.Counter()
    counts: collections.Counter[str] = collections.Counter()
    for plane in devices or [plane for plane in planes if plane.name == _HOST]:
        for line in plane.lines:
            if not line.name.startswith(_LINES):
                continue
            for event in line.events:
                if devices or _is_operation(event):
                    seconds[event.name] += event.duration_ns / 1e9
                    counts[event.name] += 1
    total_s = sum(seconds.values())
    if not total_s:
        raise ValueError(f"the trace in {folder} has no kernel")
    return [
        Kernel(name, spent, spent / total_s, counts[name])
        for name, spent in seconds.most_common(most)
    ]


def _is_operation(event: Any) -> bool:
    """Whether a `ProfileEvent` is an operation of HLO, and not the runtime's own."""
    return any(name == "hlo_op" for name, _ in event.stats)
