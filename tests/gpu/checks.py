"""What must hold on an accelerator, checked against this machine's CPU.

    python tests/gpu/checks.py --device=cuda --workdir=DIR [--json=OUT]
        [--budget_s=240] [--small]

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
import pathlib
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from device_stages import Failure, Stages

from mlgcn_jax.runs import machine

# Three runs go at once. No kernel is chosen by trying: on an H200 that was most of the
# 118 to 176 s that a step took to compile, and here nothing is timed.
_ON_DEVICE: Mapping[str, Mapping[str, str]] = {
    "cuda": {
        "XLA_FLAGS": "--xla_gpu_autotune_level=0",
        "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.3",
    },
    "tpu": {},
    "cpu": {},
}
# The same bits twice; products in float32, not TF32 (GPUs) or bfloat16 (TPUs).
_EXACT: Mapping[str, Mapping[str, str]] = {
    "cuda": {
        **_ON_DEVICE["cuda"],
        "JAX_DEFAULT_MATMUL_PRECISION": "float32",
        "XLA_FLAGS": "--xla_gpu_autotune_level=0 --xla_gpu_deterministic_ops=true",
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
_BFLOAT16 = {"model.dtype": "bfloat16"}
_PREEMPTED = 75


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


def largest_difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Returns the largest relative difference; infinite where steps are missing."""
    if found.shape != expected.shape or not np.isfinite(found).all():
        return float("inf")
    return float(np.max(np.abs(found / expected - 1)))


def start_run(stages: Stages, run: str) -> None:
    """Starts one of the runs whose losses are compared."""
    on, environment, options = {
        "cpu": ("cpu", {}, {}),
        "float32": (stages.device, _EXACT[stages.device], {}),
        "bfloat16": (stages.device, _ON_DEVICE[stages.device], _BFLOAT16),
    }[run]
    arguments = stages.train_arguments(run, **options)
    stages.started[run] = stages.start(arguments, on=on, environment=environment)


def check_float32(stages: Stages) -> tuple[bool, str]:
    """The losses of a float32 run are those of the CPU."""
    start_run(stages, "cpu")
    start_run(stages, "float32")
    if stages.device != "tpu":  # which one process has for itself
        start_run(stages, "bfloat16")
    stages.started["cpu"].finish()
    stages.started["float32"].finish()
    expected = stages.losses("cpu")
    difference = largest_difference(stages.losses("float32"), expected)
    found = f"{len(expected)} losses differ by {difference:.1e} at most"
    passed = len(expected) == _STEPS and difference <= _LOSSES_FLOAT32
    return passed, f"{found} (limit {_LOSSES_FLOAT32:.0e})"


def check_bfloat16(stages: Stages) -> tuple[bool, str]:
    """Those of a bfloat16 run are near them."""
    if "bfloat16" not in stages.started:
        start_run(stages, "bfloat16")
    stages.started["bfloat16"].finish()
    expected = stages.losses("cpu")
    difference = largest_difference(stages.losses("bfloat16"), expected)
    return (
        difference <= _LOSSES_BFLOAT16,
        f"losses differ by {difference:.1e} at most (limit {_LOSSES_BFLOAT16:.0e})",
    )


def check_resume(stages: Stages) -> tuple[bool, str]:
    """A run that is stopped and started again has the losses of one that is not."""
    arguments = stages.train_arguments("resumed")
    on = {"on": stages.device, "environment": _EXACT[stages.device]}
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

    device = metrics(stages.device, _EXACT[stages.device])
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
        environment={
            **_ON_DEVICE[stages.device],
            "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.02",  # 1.6 GB of an H100's
        },
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


def run_checks(
    stages: Stages, *, deadline: float = float("inf")
) -> Iterator[list[Finding]]:
    """Runs all of them, each whatever became of those before it; yields all so far.

    One that would begin after the deadline, of `time.monotonic()`, has failed.
    """
    findings = []
    of_gpus = () if stages.device == "tpu" else (check_shared_gpu,)
    for check in (*CHECKS, *of_gpus):
        name = check.__name__.removeprefix("check_")
        start = time.monotonic()
        if start > deadline:
            passed, found = False, "left out for want of time"
        else:
            try:
                passed, found = check(stages)
            except (Failure, OSError, ValueError, KeyError) as error:
                passed, found = False, f"{type(error).__name__}: {error}"
        findings.append(Finding(name, passed, found, time.monotonic() - start))
        print(format_finding(findings[-1]), flush=True)
        yield findings


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
    parser.add_argument("--budget_s", type=float, default=float("inf"))
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    stages = Stages(
        options.workdir.resolve(), device=options.device, small=options.small
    )
    deadline = time.monotonic() + options.budget_s
    findings: list[Finding] = []
    for findings in run_checks(stages, deadline=deadline):
        if options.json:  # whole whenever this is ended
            content = [finding._asdict() for finding in findings]
            options.json.write_text(json.dumps(content, indent=2) + "\n")
    return 0 if all(finding.passed for finding in findings) else 1


def _num_losses(path: pathlib.Path) -> int:
    return path.read_text().count('"loss"') if path.exists() else 0


if __name__ == "__main__":
    sys.exit(main())
