"""Starts runs of several real processes over loopback."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from run_logs import TINY_CONFIG

from mlgcn_jax.runs import run_folder

TIMEOUT_S = 240


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(
    workdir: pathlib.Path,
    data_dir: pathlib.Path,
    *,
    num_processes: int,
    devices_each: int = 1,
    config: pathlib.Path = TINY_CONFIG,
    options: Sequence[str] = (),
) -> list[subprocess.Popen[str]]:
    """Starts every process of a run; what they say goes to files beside the run."""
    coordinator = f"127.0.0.1:{free_port()}"
    workdir.parent.mkdir(parents=True, exist_ok=True)
    started = []
    for process_id in range(num_processes):
        log = workdir.with_name(f"{workdir.name}-{process_id}.log").open("a")
        command = [
            *(sys.executable, "-m", "mlgcn_jax.cli", "train"),
            f"--config={config}",
            f"--config.data_dir={data_dir}",
            f"--workdir={workdir}",
            f"--coordinator={coordinator}",
            f"--num_processes={num_processes}",
            f"--process_id={process_id}",
            *options,
        ]
        environment = {
            **os.environ,
            "JAX_NUM_CPU_DEVICES": str(devices_each),
        }
        started.append(
            subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, text=True
            )
        )
        log.close()
    return started


def wait(started: list[subprocess.Popen[str]]) -> list[int]:
    """Returns the exit statuses; nothing outlives the test."""
    try:
        return [process.wait(timeout=TIMEOUT_S) for process in started]
    finally:
        for process in started:
            process.kill()


def log_file(workdir: pathlib.Path) -> int | None:
    """Returns which file the log is: a run that goes on writes it anew."""
    log = run_folder.RunFolder(workdir).metrics_log
    return log.stat().st_ino if log.exists() else None


def wait_for_step(
    workdir: pathlib.Path,
    step: int,
    started: list[subprocess.Popen[str]],
    *,
    not_in: int | None = None,
    timeout_s: float = TIMEOUT_S,
) -> None:
    """Returns when a step is in the log, and the log is another file than `not_in`."""
    deadline = time.monotonic() + timeout_s
    while log_file(workdir) in (None, not_in) or _last_step(workdir) < step:
        assert all(process.poll() is None for process in started), said(workdir)
        assert time.monotonic() < deadline, said(workdir)
        time.sleep(0.02)


def said(workdir: pathlib.Path) -> str:
    logs = sorted(workdir.parent.glob(f"{workdir.name}-*.log"))
    return "\n".join(f"--- {log.name}\n{log.read_text()}" for log in logs)


def _last_step(workdir: pathlib.Path) -> int:
    lines = run_folder.RunFolder(workdir).metrics_log.read_text().split("\n")[:-1]
    return json.loads(lines[-1])["step"] if lines else 0
