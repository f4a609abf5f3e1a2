"""What must hold on an accelerator, checked against this machine's CPU.

    python tests/gpu/checks.py --device=cuda --workdir=DIR [--json=OUT] [--small]

Every check runs the stages as users do, in processes of their own, on the shipped
sample: the same curve as on the CPU (float32; bfloat16 within what it rounds), a run
that is stopped and goes on, the same evaluation, two processes that see one GPU, too
little memory. Ends with 1 where one fails; JSON and a table say what was found, DIR
holds the runs and what each stage said.

`--device=cpu --small` rehearses all of it without an accelerator, in CI. Then:

* the "device" is the CPU with YNNPACK off, so that sums round otherwise;
* four processes see three GPUs that are not there, instead of two that see one;
* a batch is larger than this machine's memory, and not than the card's.
"""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from mlgcn_jax.runs import machine

_ROOT = pathlib.Path(__file__).parents[2]
# The same bits twice; products in float32, not TF32 (GPUs) or bfloat16 (TPUs).
_EXACT = {
    "cuda": {
        "JAX_DEFAULT_MATMUL_PRECISION": "float32",
        "XLA_FLAGS": "--xla_gpu_deterministic_ops=true",
    },
    "tpu": {"JAX_DEFAULT_MATMUL_PRECISION": "float32"},
    "cpu": {"XLA_FLAGS": "--xla_cpu_experimental_ynn_fusion_type="},
}
# GPUs that a machine without any is said to have, so that nobody can share them.
_NOT_THERE = {"JAX_PLATFORMS": "cuda", "CUDA_VISIBLE_DEVICES": "0,1,2"}
# More than 1.6 GB of a GPU; more than any machine has.
_LARGE: Mapping[str, object] = {"batch_size": 1_000, "image_size": 256}
_TOO_LARGE: Mapping[str, Mapping[str, object]] = {
    "cuda": _LARGE,
    "tpu": {"batch_size": 1_000, "image_size": 1_024},
    "cpu": {"batch_size": 2_000, "image_size": 2**14},
}
_LOSSES_FLOAT32 = 1e-4  # relative, over all steps
_LOSSES_BFLOAT16 = 5e-2  # of one step; a product of bfloat16 rounds by 2^-9
_METRICS = 1e-3
_STEPS = 21  # 2,015 pictures in batches of 96
_PREEMPTED = 75
_STAGE_S = 300  # after which a stage hangs


class Finding(NamedTuple):
    """What a check found.

    Attributes:
        name: of the check.
        passed: whether that is within the limit.
        found: in words, with the numbers.
        seconds: that it took.
    """

    name: str
    passed: bool
    found: str
    seconds: float


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
    """Runs stages in the folder `workdir`, on the device or on the CPU."""

    def __init__(self, workdir: pathlib.Path, *, device: str, small: bool):
        """Takes where, on what, and which size; the folder is made."""
        workdir.mkdir(parents=True, exist_ok=True)
        self.workdir = workdir
        self.device = device
        self._small = small
        self._num_stages = 0

    def train_arguments(self, run: str, **overrides: object) -> list[str]:
        """Returns the command of a run of `_STEPS` steps."""
        options: dict[str, object] = {
            "batch_size": 96,
            "num_epochs": 1,
            "image_size": 64,
            "log_every_steps": 1,
            "checkpoint_every_epochs": 1,
            "optimizer.learning_rate": 1e-4,
            "optimizer.schedule": "constant",
            "optimizer.warmup_epochs": 0.0,
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

    def exact(self) -> Mapping[str, str]:
        """Returns the environment in which the device computes in float32."""
        return _EXACT[self.device]

    def losses(self, run: str) -> np.ndarray:
        """Returns the training loss of each step of a run."""
        lines = (self.workdir / run / "metrics.jsonl").read_text().splitlines()
        named = [json.loads(line) for line in lines]
        return np.array([line["loss"] for line in named if "loss" in line])


def largest_difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Returns the largest relative difference; infinite where steps are missing."""
    if found.shape != expected.shape or not np.isfinite(found).all():
        return float("inf")
    return float(np.max(np.abs(found / expected - 1)))


def check_float32(stages: Stages) -> tuple[bool, str]:
    """The losses of a float32 run are those of the CPU."""
    of_cpu = stages.start(stages.train_arguments("cpu"), on="cpu")
    stages.run(
        stages.train_arguments("float32"),
        on=stages.device,
        environment=stages.exact(),
    )
    of_cpu.finish()
    expected = stages.losses("cpu")
    difference = largest_difference(stages.losses("float32"), expected)
    found = f"{len(expected)} losses differ by {difference:.1e} at most"
    passed = len(expected) == _STEPS and difference <= _LOSSES_FLOAT32
    return passed, f"{found} (limit {_LOSSES_FLOAT32:.0e})"


def check_bfloat16(stages: Stages) -> tuple[bool, str]:
    """Those of a bfloat16 run are near them."""
    options = {"model.dtype": "bfloat16"}
    stages.run(stages.train_arguments("bfloat16", **options), on=stages.device)
    expected = stages.losses("cpu")
    difference = largest_difference(stages.losses("bfloat16"), expected)
    return (
        difference <= _LOSSES_BFLOAT16,
        f"losses differ by {difference:.1e} at most (limit {_LOSSES_BFLOAT16:.0e})",
    )


def check_resume(stages: Stages) -> tuple[bool, str]:
    """A run that is stopped and started again has the losses of one that is not."""
    arguments = stages.train_arguments("resumed")
    on = {"on": stages.device, "environment": stages.exact()}
    stage = stages.start(arguments, **on)
    curve = stages.workdir / "resumed" / "metrics.jsonl"
    stage.wait_until(lambda: _num_losses(curve) >= _STEPS // 2)
    stage.process.send_signal(signal.SIGTERM)
    stage.finish(_PREEMPTED)
    stopped_after = _num_losses(curve)
    stages.run(arguments, **on)
    found, expected = stages.losses("resumed"), stages.losses("float32")
    difference = largest_difference(found, expected)
    return (
        difference == 0 and stopped_after < _STEPS,
        f"stopped after {stopped_after} of {_STEPS} steps, "
        + ("the same bits" if difference == 0 else f"losses {difference:.1e} off"),
    )


def check_evaluation(stages: Stages) -> tuple[bool, str]:
    """The device evaluates a run as the CPU does."""
    folder = stages.workdir / "float32"

    def metrics(on: str, environment: Mapping[str, str]) -> dict[str, float]:
        stages.run(["evaluate", str(folder)], on=on, environment=environment)
        found = json.loads((folder / "metrics.json").read_text())
        return {name: x for name, x in found.items() if isinstance(x, float)}

    device = metrics(stages.device, stages.exact())
    cpu = metrics("cpu", {})
    if not cpu or device.keys() != cpu.keys():
        return False, f"metrics of the device {[*device]}, of the CPU {[*cpu]}"
    difference = max(abs(device[name] - cpu[name]) for name in cpu)
    return (
        difference <= _METRICS,
        f"{len(cpu)} metrics differ by {difference:.1e} at most (limit {_METRICS:.0e})",
    )


def check_shared_gpu(stages: Stages) -> tuple[bool, str]:
    """Of processes that mpirun starts, one more than there are GPUs is refused."""
    if stages.device == "cpu":
        size, gpus = 4, _NOT_THERE
    else:
        size, gpus = machine.Machine().num_gpus() + 1, {"CUDA_VISIBLE_DEVICES": None}
    said = stages.run(
        stages.train_arguments("shared"),
        on=stages.device,
        environment={
            "OMPI_COMM_WORLD_SIZE": str(size),
            "OMPI_COMM_WORLD_RANK": "1",
            "OMPI_COMM_WORLD_LOCAL_SIZE": str(size),
            "OMPI_COMM_WORLD_LOCAL_RANK": "1",
            "OMPI_MCA_orte_hnp_uri": "1.0;tcp://127.0.0.1:40000",
            **gpus,
        },
        status=1,
    )
    line = said.strip().splitlines()[-1]
    return "cannot be shared out evenly" in line, line


def check_memory(stages: Stages) -> tuple[bool, str]:
    """Too little memory is told in one line that says what to do."""
    arguments = stages.train_arguments("large", **_TOO_LARGE[stages.device])
    said = stages.run(
        arguments,
        on=stages.device,
        environment={"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.02"},  # 1.6 GB of an H100's
        status=1,
    )
    line = said.strip().splitlines()[-1]
    # Only of a GPU it is known which batch would fit: a CPU does not say how much it
    # may take, and what does not fit on a TPU does not compile.
    wanted = " (about " if stages.device == "cuda" else ""
    return f"use a smaller config.batch_size{wanted}" in line, line


CHECKS: tuple[Callable[[Stages], tuple[bool, str]], ...] = (
    check_float32,
    check_bfloat16,
    check_resume,
    check_evaluation,
    check_memory,
)


def run_checks(stages: Stages) -> list[Finding]:
    """Runs all of them, each whatever became of those before it."""
    findings = []
    of_gpus = () if stages.device == "tpu" else (check_shared_gpu,)
    for check in (*CHECKS, *of_gpus):
        name = check.__name__.removeprefix("check_")
        start = time.perf_counter()
        try:
            passed, found = check(stages)
        except (Failure, OSError, ValueError, KeyError) as error:
            passed, found = False, f"{type(error).__name__}: {error}"
        findings.append(Finding(name, passed, found, time.perf_counter() - start))
        print(format_finding(findings[-1]), flush=True)
    return findings


def format_finding(finding: Finding) -> str:
    """Returns a line of the table."""
    state = "ok" if finding.passed else "FAILED"
    return f"{finding.name:12} {state:6} {finding.seconds:5.0f} s  {finding.found}"


def main() -> int:
    """Runs the checks; returns the exit status."""
    parser = argparse.ArgumentParser(description="See the head of this file.")
    parser.add_argument("--device", default="cuda", choices=["cuda", "tpu", "cpu"])
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    stages = Stages(
        options.workdir.resolve(), device=options.device, small=options.small
    )
    findings = run_checks(stages)
    if options.json:
        content = [finding._asdict() for finding in findings]
        options.json.write_text(json.dumps(content, indent=2) + "\n")
    return 0 if all(finding.passed for finding in findings) else 1


def _num_losses(path: pathlib.Path) -> int:
    return path.read_text().count('"loss"') if path.exists() else 0


if __name__ == "__main__":
    sys.exit(main())
