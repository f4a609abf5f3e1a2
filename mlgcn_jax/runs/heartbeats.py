"""Heartbeats: what each process of a run says of itself, a JSON file a process.

    {"process": 0, "num_processes": 4, "host": "n1", "pid": 123, "time": 1764057600.0,
     "interval_s": 10.0, "state": "training", "state_since": ..., "step": 120, ...}

Times are seconds since 1970 by the clock of the host. `training/vital_signs.py` writes
them, `run_status` reads them; nothing here needs JAX.
"""

import math
import pathlib
from typing import Any, NamedTuple

from mlgcn_jax.data import files

FINISHED, STOPPED, FAILED = "finished", "stopped", "failed"
ENDED = (FINISHED, STOPPED, FAILED)  # how the states of a process that ended begin

_INTEGERS = ("process", "num_processes", "pid")
_NUMBERS = ("time", "interval_s")
_TEXTS = ("host", "state")
_NUMBERS_IF_ANY = (
    "last_sign",
    "step",
    "num_steps",
    "steps_per_epoch",
    "host_memory_bytes",
    "device_peak_memory_bytes",
    "device_memory_bytes",
)


class Found(NamedTuple):
    """What a folder of heartbeats holds.

    Attributes:
        heartbeats: process -> its heartbeat.
        problems: what could not be read, a line each.
    """

    heartbeats: dict[int, dict[str, Any]]
    problems: list[str]


def path(folder: pathlib.Path, process: int) -> pathlib.Path:
    """Returns where the heartbeat of a process lies."""
    return folder / f"process{process}.json"


def write(folder: pathlib.Path, heartbeat: dict[str, Any]) -> None:
    """Writes a heartbeat, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(path(folder, heartbeat["process"]), heartbeat)


def remove_of_others(folder: pathlib.Path, num_processes: int) -> None:
    """Removes what processes left that the run has had and has no longer."""
    for process in read(folder).heartbeats:
        if process >= num_processes:
            path(folder, process).unlink(missing_ok=True)


def read(folder: pathlib.Path) -> Found:
    """Returns the heartbeats of a folder, which may be missing or damaged."""
    found = Found({}, [])
    for file in sorted(folder.glob("process*.json")):
        try:
            heartbeat = files.read_json(file)
        except FileNotFoundError:  # removed since
            continue
        except (OSError, ValueError) as error:
            found.problems.append(str(error))
            continue
        wrong = [
            *(name for name in _INTEGERS if not isinstance(heartbeat.get(name), int)),
            *(name for name in _NUMBERS if not is_number(heartbeat.get(name))),
            *(name for name in _TEXTS if not isinstance(heartbeat.get(name), str)),
            *(
                name
                for name in _NUMBERS_IF_ANY
                if not is_number(heartbeat.get(name, 0))
            ),
        ]
        if wrong:
            found.problems.append(f"{file} is damaged: its {', '.join(wrong)}")
        else:
            found.heartbeats[heartbeat["process"]] = heartbeat
    return found


def is_number(value: Any) -> bool:
    """Returns whether a value of a JSON file is a number, NaN and infinity not."""
    return isinstance(value, int | float) and math.isfinite(value)
