"""A stage as its users call it: a process of its own, on two devices."""

import os
import pathlib
import subprocess
import sys


def mlgcn(*arguments, cwd: pathlib.Path, status: int = 0) -> tuple[str, str]:
    """Runs a stage; returns what it wrote to standard output and error."""
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    done = subprocess.run(
        [sys.executable, "-m", "mlgcn_jax.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        timeout=300,
    )
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr
