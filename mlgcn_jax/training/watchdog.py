"""Notices that a run is stuck, says where, and ends its process with status 75.

A device that answers no more, a collective that waits for a process that hangs, a disk
that is gone: such a call cannot be taken back, so nothing is unwound. The process
writes what it waited for and the stacks of all its threads, and ends; what starts it
again finds the last checkpoint.

Two nets lie under a run. A thread counts the seconds since the last sign of life; it
sees whatever is stuck with the interpreter lock released, as waiting for devices, files
and other processes is. Where the lock is never given back that thread is stuck as well:
timers of the C library, which it has to wind up again and again, then do the same.
"""

import contextlib
import ctypes
import faulthandler
import os
import pathlib
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

EXIT_STATUS = os.EX_TEMPFAIL  # 75, as after SIGTERM: start the same command again
_STDERR = 2
_TELL_WITHIN_S = 10.0  # then it ends, whether all was told or not


class _Sign(NamedTuple):
    what: str
    monotonic_s: float
    time: float


class Watchdog:
    """Waits for signs of life; make it with `watching`."""

    def __init__(self, timeout_s: float, *, process: str, stacks: pathlib.Path):
        """Takes the arguments of `watching`; nothing is watched yet."""
        self._timeout_s = timeout_s
        self._process = process
        self._stacks = stacks
        self._sign: _Sign | None = None
        self._closed = threading.Event()
        self._lock = threading.Lock()  # over the sign and the second net
        self._exit_timer = _ExitTimer()

    def beat(self, what: str) -> None:
        """Says that all is well; the next sign is due within `timeout_s`.

        Args:
            what: was just done, for the report.
        """
        was_paused = self._sign is None
        self._sign = _Sign(what, time.monotonic(), time.time())
        if was_paused and self._timeout_s:
            # The thread may not get the interpreter lock again to do it.
            with self._lock:
                self._lay_second_net()

    def pause(self) -> None:
        """Expects no sign until the next `beat`: what follows may take any time."""
        with self._lock:
            self._sign = None
            self._take_second_net_away()

    def _watch(self) -> None:
        try:
            while not self._closed.wait(min(self._timeout_s / 4, 10.0)):
                with self._lock:
                    sign = self._sign
                    if sign is None:
                        continue
                    self._lay_second_net()
                if time.monotonic() - sign.monotonic_s > self._timeout_s:
                    self._end(sign)
        finally:
            self._take_second_net_away()

    def _lay_second_net(self) -> None:
        # Only faulthandler writes stacks without the lock, and only to one file.
        faulthandler.dump_traceback_later(self._timeout_s, file=_STDERR)
        self._exit_timer.set(self._timeout_s + _TELL_WITHIN_S)

    def _take_second_net_away(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        self._exit_timer.set(0.0)

    def _end(self, sign: _Sign) -> None:
        # A disk or a pipe that is stuck itself must not keep the process.
        self._exit_timer.set(_TELL_WITHIN_S)
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(sign.time))
        report = (
            f"watchdog: {self._process} is stuck: no sign of life since {since} "
            f"({sign.what}), for more than {self._timeout_s:g} s. The stacks of all "
            f"threads follow and are in {self._stacks}. It ends with status "
            f"{EXIT_STATUS}: start the same command again\n"
        ).encode()
        os.write(_STDERR, report)
        faulthandler.dump_traceback(_STDERR, all_threads=True)
        with contextlib.suppress(OSError), self._stacks.open("wb") as file:
            file.write(report)
            file.flush()
            faulthandler.dump_traceback(file, all_threads=True)
        os._exit(EXIT_STATUS)


@contextlib.contextmanager
def watching(
    timeout_s: float, *, process: str, stacks: pathlib.Path
) -> Iterator[Watchdog]:
    """Ends the process where no sign of life comes for too long while inside.

    Nothing is expected before the first `beat`.

    Args:
        timeout_s: the longest silence after a `beat`; 0: nothing is watched.
        process: how the report calls this process.
        stacks: file that the report is written to, besides standard error.
    """
    dog = Watchdog(timeout_s, process=process, stacks=stacks)
    if not timeout_s:
        yield dog
        return
    thread = threading.Thread(target=dog._watch, name="watchdog", daemon=True)
    thread.start()
    try:
        yield dog
    finally:
        dog._closed.set()
        thread.join()


class _Notification(ctypes.Structure):
    """`struct sigevent` of Linux: call a function with a value when a timer is due."""

    _fields_ = (
        ("value", ctypes.c_ssize_t),
        ("signal", ctypes.c_int),
        ("kind", ctypes.c_int),
        ("function", ctypes.c_void_p),
        ("attributes", ctypes.c_void_p),
        ("padding", ctypes.c_char * 32),
    )


class _TimerSetting(ctypes.Structure):
    """`struct itimerspec`: seconds and nanoseconds between calls, and to the first."""

    _fields_ = (
        ("interval", ctypes.c_long * 2),
        ("value", ctypes.c_long * 2),
    )


class _ExitTimer:
    """Ends the process with `EXIT_STATUS` after a while, without Python's help.

    A timer of POSIX whose thread calls `_exit(EXIT_STATUS)`: no interpreter lock is
    needed. faulthandler can end the process too, but only with status 1.
    """

    _CLOCK_MONOTONIC = 1
    _SIGEV_THREAD = 2

    def __init__(self):
        self._library = ctypes.CDLL("librt.so.1", use_errno=True)
        self._timer = ctypes.c_void_p()
        notification = _Notification(
            value=EXIT_STATUS,
            kind=self._SIGEV_THREAD,
            function=ctypes.cast(self._library._exit, ctypes.c_void_p),
        )
        self._check(
            self._library.timer_create(
                self._CLOCK_MONOTONIC,
                ctypes.byref(notification),
                ctypes.byref(self._timer),
            )
        )

    def set(self, seconds: float) -> None:
        """Takes the place of what was set before; 0: the process goes on."""
        whole = int(seconds)
        setting = _TimerSetting(value=(whole, int((seconds - whole) * 1e9)))
        self._check(
            self._library.timer_settime(self._timer, 0, ctypes.byref(setting), None)
        )

    def __del__(self):
        self._library.timer_delete(self._timer)

    def _check(self, result: int) -> None:
        if result:
            number = ctypes.get_errno()
            raise OSError(number, f"POSIX timer: {os.strerror(number)}")
