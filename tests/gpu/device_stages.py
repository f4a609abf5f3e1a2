"""Stages of ours in processes of their own, on an accelerator or on the CPU."""

import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

import numpy as np

_ROOT = pathlib.Path(__file__).parents[2]
_STAGE_S = 300  # after which a stage hangs


class Failure(Exception):
    """A stage ended otherwise than it should; with the end of what it said."""


class Stage:
    """A stage that was started."""

    def __init__(
        self, process: subprocess.Popen[bytes], said: pathlib.Path, *, deadline: float
    ):
        """Takes the file that it writes to, and when it should have ended."""
        self.process = process
        self._said = said
        self._deadline = deadline

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Waits until something is so, or it has ended, or its time is over."""
        while self.process.poll() is None and not condition():
            if time.monotonic() > self._deadline:
                return
            time.sleep(0.01)

    def finish(self, status: int = 0) -> str:
        """Returns all that it said.

        Raises:
            Failure: it ended with another status, or does not end.
        """
        try:
            found = self.process.wait(self._deadline - time.monotonic())
        except subprocess.TimeoutExpired:
            self.process.kill()
            found = self.process.wait()
        said = self._said.read_text(errors="replace")
        if found != status:
            raise Failure(
                f"{self._said.name} ended with {found} instead of {status}: "
                f"{said[-1500:]}"
            )
        return said


class Stages:
    """Runs stages in the folder `workdir`, on the device or on the CPU.

    Attributes:
        workdir: that holds the runs, and what each stage said.
        device: JAX's name for the accelerator.
        started: run -> stage that trains it and was not waited for.
    """

    def __init__(self, workdir: pathlib.Path, *, device: str, small: bool):
        """Takes where, on what, and which size; the folder is made."""
        workdir.mkdir(parents=True, exist_ok=True)
        self.workdir = workdir
        self.device = device
        self.started: dict[str, Stage] = {}
        self._small = small
        self._num_stages = 0

    def train_arguments(self, run: str, **overrides: object) -> list[str]:
        """Returns the command of a run of an epoch.

        It tells rounding from faults: Adam's first steps take the sign of gradients
        that are mostly rounding, and a maximum has kinks. With both, sums in another
        order on one CPU part the losses of DenseNet-121 by 6e-3 within 21 steps; so,
        and at a rate of 1e-3, by 1e-4.
        """
        options: dict[str, object] = {
            "batch_size": 96,
            "num_epochs": 1,
            "image_size": 64,
            "log_every_steps": 1,
            "checkpoint_every_epochs": 1,
            "optimizer.name": "sgd",
            "optimizer.learning_rate": 3e-4,
            "optimizer.schedule": "constant",
            "optimizer.warmup_epochs": 0.0,
            "model.pooling": "average",
            **overrides,
        }
        if self._small:
            options["model.backbone"] = "densenet_tiny"
        return [
            "launch",
            f"--config={_ROOT / 'configs' / 'quickstart.py'}",
            f"--workdir={self.workdir / run}",
            *(f"--config.{key}={value}" for key, value in options.items()),
        ]

    def start(
        self,
        arguments: list[str],
        *,
        on: str,
        environment: Mapping[str, str | None] = {},
    ) -> Stage:
        """Starts a stage on a platform of JAX; None takes a variable away."""
        variables = {**os.environ, "JAX_PLATFORMS": on, **environment}
        self._num_stages += 1
        said = self.workdir / f"{self._num_stages:02}_{arguments[0]}.txt"
        with said.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "mlgcn_jax.cli", *arguments],
                env={name: v for name, v in variables.items() if v is not None},
                cwd=self.workdir,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        return Stage(process, said, deadline=time.monotonic() + _STAGE_S)

    def run(
        self,
        arguments: list[str],
        *,
        on: str,
        environment: Mapping[str, str | None] = {},
        status: int = 0,
    ) -> str:
        """Runs a stage to its end; returns what it said.

        Raises:
            Failure: it ended with another status, or does not end.
        """
        return self.start(arguments, on=on, environment=environment).finish(status)

    def losses(self, run: str) -> np.ndarray:
        """Returns the training loss of each step of a run."""
        lines = (self.workdir / run / "metrics.jsonl").read_text().splitlines()
        named = [json.loads(line) for line in lines]
        return np.array([line["loss"] for line in named if "loss" in line])
