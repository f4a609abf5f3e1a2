"""A stage as its users call it: a process of its own, on two devices."""

import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable


def mlgcn(*arguments, cwd: pathlib.Path, status: int = 0) -> tuple[str, str]:
    """Runs a stage; returns what it wrote to standard output and error."""
    return _finish(_start(arguments, cwd), status)


def preempt(*arguments, cwd: pathlib.Path, when: Callable[[], bool]) -> tuple[str, str]:
    """Runs a stage and sends SIGTERM as soon as `when`: it must end with status 75."""
    process = _start(arguments, cwd)
    while process.poll() is None and not when():
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    return _finish(process, status=75)


def _start(arguments, cwd: pathlib.Path) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "JAX_NUM_CPU_DEVICES": "2",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "mlgcn_jax.cli", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=environment,
    )


def _finish(process: subprocess.Popen[str], status: int) -> tuple[str, str]:
    with process:
        try:
            output, errors = process.communicate(timeout=300)
        finally:
            process.kill()
    assert process.returncode == status, errors
    return output, errors
