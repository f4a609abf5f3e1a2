"""`mlgcn doctor` in real processes, alone and together, with faults that are made."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Sequence

from process_runs import free_port

import mlgcn_jax
from mlgcn_jax.devices import compiler

ROOT = pathlib.Path(mlgcn_jax.__file__).parent.parent
DOCTOR = ("-m", "mlgcn_jax.cli", "doctor")
# With what is changed first; then the command line as it comes.
CHANGED = "import sys; {}; from mlgcn_jax import cli; sys.exit(cli.main())"
# What each process computes by itself takes most of the time, and is tried alone.
WITHOUT_NUMBERS = CHANGED.format(
    "from mlgcn_jax.doctor import edge_speed as e, step as s;"
    "from mlgcn_jax.doctor.numbers import check as n;"
    "e.check = s.check = n.check = lambda: iter(())"
)


def start(
    cwd: pathlib.Path,
    *arguments: str,
    program: Sequence[str] = DOCTOR,
    code: pathlib.Path = ROOT,
    **environ: str,
) -> subprocess.Popen[str]:
    variables = {"PYTHONPATH": str(code), "JAX_NUM_CPU_DEVICES": "2"}
    return subprocess.Popen(
        [sys.executable, *program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, **variables, **environ},
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    with process:
        try:
            output, errors = process.communicate(timeout=240)
        finally:
            process.kill()
    return process.returncode, output, errors


def place(port: int, process: int, *, of: int) -> tuple[str, ...]:
    return (
        f"--coordinator=localhost:{port}",
        f"--num_processes={of}",
        f"--process_id={process}",
    )


def not_ok(file: pathlib.Path) -> list[tuple[int, str, str, str]]:
    return [
        (f["process"], f["status"], f["part"], f["name"])
        for f in json.loads(file.read_text())["findings"]
        # What is known of this release of JAX is not of this machine.
        if f["status"] != "ok" and f["part"] != "known"
    ]


def test_a_healthy_machine(tmp_path, data_dir):
    status, output, errors = finish(
        start(
            tmp_path, "--json=out.json", "--workdir=runs/new", f"--data_dir={data_dir}"
        )
    )
    assert status == 0, output + errors
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["status"] != "fault"  # jax 0.12 has a warning (bfloat16 sums)
    assert content["versions"].keys() >= {"mlgcn-jax", "jax", "jaxlib", "python"}
    parts = {finding["part"] for finding in content["findings"]}
    assert parts >= {
        *("versions", "folders", "decoding", "devices", "settings", "cache"),
        *("numbers", "bits", "speed", "collectives"),
    }
    assert output.splitlines()[-1].startswith("0 faults, ")
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_two_processes_with_other_code_and_flags(tmp_path):
    """The second has another line, and YNNPACK's reductions switched on."""
    copy = tmp_path / "copy"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "mlgcn_jax", copy / "mlgcn_jax", ignore=ignored)
    with (copy / "mlgcn_jax" / "models" / "layers.py").open("a") as file:
        file.write("# one more line\n")
    port = free_port()
    started = [
        start(
            tmp_path,
            *("doctor", "--json=out.json", *place(port, process, of=2)),
            program=("-c", WITHOUT_NUMBERS),
            code=code,
            XLA_FLAGS=f"--{compiler.YNN_FUSIONS}={fusions}",
        )
        for process, (code, fusions) in enumerate(
            ((ROOT, "-reduce"), (copy, "+reduce"))
        )
    ]
    (first, output, errors), (second, other_output, _) = map(finish, started)
    assert (first, second) == (1, 1), output + errors
    assert "findings" not in other_output  # the first one speaks for all
    assert not_ok(tmp_path / "out.json") == [
        (0, "fault", "processes", "code"),
        (0, "fault", "processes", "XLA_FLAGS"),
        (1, "fault", "settings", f"XLA_FLAGS --{compiler.YNN_FUSIONS}"),
    ]
    assert "process 1: models/layers.py" in output
    assert "install the same mlgcn-jax for all" in output
    assert f"-> take {compiler.YNN_FUSIONS} out of XLA_FLAGS" in output


def test_two_processes_that_are_alike_get_each_others_numbers(tmp_path):
    port = free_port()
    started = [
        start(
            tmp_path,
            *("doctor", "--json=out.json", *place(port, process, of=2)),
            program=("-c", WITHOUT_NUMBERS),
        )
        for process in (0, 1)
    ]
    for status, output, errors in map(finish, started):
        assert status == 0, output + errors
    assert not_ok(tmp_path / "out.json") == []
    found = json.loads((tmp_path / "out.json").read_text())["findings"]
    told = {(f["process"], f["part"], f["name"]) for f in found}
    assert {(0, "processes", "code"), (0, "processes", "versions")} <= told
    for process in (0, 1):
        assert (process, "collectives", "all-reduce") in told
        assert (process, "collectives", "gradient accumulated in scan") in told


def test_one_process_of_four_that_does_not_come_is_told(tmp_path):
    short = CHANGED.format(
        "from mlgcn_jax.runs import cluster; cluster.INITIALIZATION_TIMEOUT_S = 3"
    )
    port = free_port()
    started = [
        start(tmp_path, "doctor", *place(port, n, of=4), program=("-c", short))
        for n in (0, 1, 3)
    ]
    for status, _, errors in map(finish, started):
        assert status == 75, errors
        (line,) = [line for line in errors.splitlines() if "error" in line]
        assert "did not find each other (not all were there after 3 s)" in line


def test_without_a_device_the_rest_is_looked_at(tmp_path):
    status, output, errors = finish(
        start(tmp_path, "--json=out.json", JAX_PLATFORMS="cuda")
    )
    assert status == 1, errors
    assert not_ok(tmp_path / "out.json") == [
        (0, "fault", "devices", "devices (JAX_PLATFORMS=cuda)")
    ]
    assert "or compute without it: JAX_PLATFORMS=cpu" in output
    assert "JPEG by libjpeg-turbo  the stored pixels" in output


def test_malformed_flags_and_a_workdir_that_cannot_be(tmp_path):
    """XLA aborts the process with such flags, once a device is asked for."""
    status, output, _ = finish(
        start(tmp_path, "--workdir=/proc/run", XLA_FLAGS="--xla_cpu_nonsense=1")
    )
    assert status == 1
    assert "FAULT   folders   workdir /proc/run" in output
    assert "XLA_FLAGS='--xla_cpu_nonsense=1' are refused" in output
    assert "2 faults, 0 warnings" in output


def test_a_part_without_end_is_told(tmp_path):
    stuck = CHANGED.format(
        "from mlgcn_jax.commands import doctor;"
        "from mlgcn_jax.doctor import decoding; import threading;"
        "doctor._LIMIT_S = 1; doctor._FIRST_WAITS_S = 0;"
        "decoding.check = lambda _: threading.Event().wait()"
    )
    process = start(tmp_path, "doctor", "--json=out.json", program=("-c", stuck))
    status, output, errors = finish(process)
    assert status == 1, errors
    assert not_ok(tmp_path / "out.json") == [(0, "fault", "decoding", "no end")]
    assert "no answer after 1 s" in output


def test_a_wrong_call(tmp_path):
    status, _, errors = finish(start(tmp_path, "--num_processes=2"))
    assert status == 2
    assert "alone; give --coordinator" in errors
