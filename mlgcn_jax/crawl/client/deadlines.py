"""The last moment of an answer, even of one that drips.

A timeout of httpx is for one read and begins anew with the next byte, of the headers
too. So the streams of new connections are given a `read` that also ends with the time
of the answer which the calling thread waits for. httpx hands them out in its `trace`
extension: https://www.encode.io/httpcore/extensions/
"""

import threading
import time
from typing import Any

import httpcore

_NEW_STREAM = ("connection.connect_tcp.complete", ".start_tls.complete")
_thread = threading.local()


def begin(seconds: float) -> None:
    """Begins the time of the one answer that this thread waits for."""
    _thread.end = time.monotonic() + seconds


def is_over() -> bool:
    """Returns whether that time is over."""
    return time.monotonic() >= _thread.end


def bound_reads(event: str, info: dict[str, Any]) -> None:
    """Makes the reads of a new connection end with the time of an answer."""
    if event.endswith(_NEW_STREAM):
        stream: httpcore.NetworkStream = info["return_value"]
        read = stream.read

        def read_in_time(max_bytes: int, timeout: float | None = None) -> bytes:
            left = _thread.end - time.monotonic()
            if left <= 0:  # however much there is to read
                raise httpcore.ReadTimeout
            return read(max_bytes, left if timeout is None else min(left, timeout))

        stream.read = read_in_time
