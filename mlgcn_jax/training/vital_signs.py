"""What a process of a run is doing: told to its heartbeat file and to its watchdog."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from absl import logging

from mlgcn_jax.data import error_text
from mlgcn_jax.runs import heartbeats, processes, run_paths
from mlgcn_jax.training import memory, watchdog

_INTERVAL_S = 10.0

# The states of a process, besides those in which it has ended.
STARTING = "starting"  # devices, dataset, label graph
RESTORING = "restoring"
COMPILING = "compiling"
TRAINING = "training"
VALIDATING = "validating"
SAVING = "saving"
# Nothing in them may take longer than the watchdog waits. The others may: nobody knows
# how long a compilation takes, and processes that have theirs wait for those that have
# not.
_WATCHED = {TRAINING, SAVING}


class VitalSigns:
    """State and progress of this process; make them with `shown`."""

    def __init__(self, paths: run_paths.RunPaths, dog: watchdog.Watchdog):
        """Begins in the state `STARTING`; nothing is written yet."""
        self._folder = paths.heartbeats
        self._dog = dog
        self._lock = threading.Lock()  # over what is told
        self._changed = threading.Event()
        self._ended = False
        self._told: dict[str, Any] = {
            "process": processes.index(),
            "num_processes": processes.count(),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": time.time(),
            "interval_s": _INTERVAL_S,
        }
        self.enter(STARTING)

    def enter(self, state: str) -> None:
        """Begins something else; `beat` says that it goes on."""
        self._state = state
        now = time.time()
        self._tell(state=state, state_since=now, last_sign=now)
        if state in _WATCHED:
            self._dog.beat(f"{state} began")
        else:
            self._dog.pause()

    @contextlib.contextmanager
    def during(self, state: str) -> Iterator[None]:
        """Is in another state while inside."""
        before = self._state
        self.enter(state)
        yield
        self.enter(before)

    def beat(self, what: str) -> None:
        """Says that something is done (`step 12`), of which there is more to come."""
        self._dog.beat(what)
        self._told["last_sign"] = time.time()  # of many: the next writing has it

    def report(self, figures: Mapping[str, Any]) -> None:
        """Adds figures to the heartbeat, `step` among them."""
        self._tell(**figures)

    def _tell(self, **told: Any) -> None:
        # Never waits for a disk: the thread writes.
        with self._lock:
            self._told |= told
        self._changed.set()

    def _write_now_and_then(self) -> None:
        failed = False
        while True:
            self._changed.clear()
            ended = self._ended
            with self._lock:
                heartbeat = {**self._told, "time": time.time()}
            try:
                heartbeats.write(self._folder, heartbeat | memory.in_use())
                failed = False
            except OSError as error:  # a full disk, say: no reason to end a training
                if not failed:
                    logging.warning("no heartbeat could be written: %s", error)
                failed = True
            if ended:
                return
            self._changed.wait(_INTERVAL_S)


@contextlib.contextmanager
def shown(paths: run_paths.RunPaths, *, stuck_after_s: float) -> Iterator[VitalSigns]:
    """Writes heartbeats and watches over this process while inside.

    The last heartbeat says how it ended: in the state that was entered last, or
    `failed: ERROR`.

    Args:
        paths: of the run.
        stuck_after_s: how long the watchdog waits for a sign; 0: it never bites.
    """
    process, num_processes = processes.index(), processes.count()
    if process == 0:
        heartbeats.remove_of_others(paths.heartbeats, num_processes)
    name = f"process {process} of {num_processes} (pid {os.getpid()} on "
    with watchdog.watching(
        stuck_after_s,
        process=f"{name}{socket.gethostname()})",
        stacks=paths.stuck(process),
    ) as dog:
        signs = VitalSigns(paths, dog)
        # A daemon: a disk that is stuck must not keep the process from its end.
        thread = threading.Thread(
            target=signs._write_now_and_then, name="heartbeat", daemon=True
        )
        thread.start()
        try:
            yield signs
        except BaseException as error:
            signs.enter(f"{heartbeats.FAILED}: {error_text.said(error)}")
            raise
        finally:
            signs._ended = True
            signs._changed.set()
            thread.join(timeout=_INTERVAL_S)
