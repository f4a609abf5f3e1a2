"""Says whether this machine, or all of a job, computes right, and what to do if not.

mlgcn doctor [--json=OUT] [--data_dir=DIR] [--workdir=RUN]
srun|mpirun|... mlgcn doctor

Versions and what is known against them, devices, numbers of every building block,
compilation cache, decoders, folders; of several processes that all have the same code
and data, and get each other's numbers. Half a minute. Status 1 where a fault was found.
"""

import os
import pathlib
import sys
import threading
import time

import jax
from absl import flags

from mlgcn_jax.commands import cluster_flags, exit_status, joined
from mlgcn_jax.data import files
from mlgcn_jax.doctor import collectives, examination, findings, report, together
from mlgcn_jax.runs import coordinator

_JSON = flags.DEFINE_string("json", None, "JSON file for all that was found.")
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Dataset that all processes should see alike."
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of a run to come: may it be written to, do locks hold?"
)
flags.adopt_module_key_flags(cluster_flags)

# What does not answer for so long is stuck, as a dead device may be.
_LIMIT_S = 180
_FIRST_WAITS_S = 15  # longer, for the reports of those that are stuck


def main(argv: list[str]) -> int:
    """Runs the stage; returns its exit status."""
    exit_status.check_no_arguments(argv)
    place = cluster_flags.detect()
    return _examine() if place.is_single else joined.run(place, _examine)


def _examine() -> int:
    """Examines as one of the processes; returns the exit status of all."""
    process, count = coordinator.index(), coordinator.count()
    exam = examination.Examination(process)
    start = time.monotonic()
    end = start + _LIMIT_S + _FIRST_WAITS_S * (process == 0)
    stuck = threading.Timer(end - start, _give_up, (exam, start))
    stuck.daemon = True
    stuck.start()
    data_dir, workdir = (
        pathlib.Path(flag.value).expanduser() if flag.value else None
        for flag in (_DATA_DIR, _WORKDIR)
    )
    with jax.transfer_guard("allow"):  # whatever the environment says
        can_send = examination.examine(exam, data_dir=data_dir, workdir=workdir)
        if count > 1:
            can_send &= together.compare(exam, data_dir, can_send=can_send, end=end)
        if can_send:
            exam.look(collectives.PART, collectives.check)
    stuck.cancel()
    status = _finish(exam, start, end)
    if status == exit_status.PREEMPTED:
        sys.exit(status)  # at once: who is missing will not come to the end either
    return status


def _finish(exam: examination.Examination, start: float, end: float) -> int:
    """Says what was found, in the first process that of all; returns the status."""
    if exam.process:
        together.tell_report(exam)
        return together.hear_status(end=end + _FIRST_WAITS_S)
    silent = together.collect_reports(exam, end=end)
    failed = findings.worst(exam.found) == "fault"
    status = exit_status.PREEMPTED if silent else exit_status.FAILURE if failed else 0
    together.tell_status(status)
    count, seconds = coordinator.count(), time.monotonic() - start
    print(report.to_text(exam.found, num_processes=count, seconds=seconds), flush=True)
    if _JSON.value:
        content = report.to_json(exam.found, num_processes=count, seconds=seconds)
        files.write_json(pathlib.Path(_JSON.value), content)
    return status


def _give_up(exam: examination.Examination, start: float) -> None:
    """Ends a process that is stuck, in another thread, with what is known."""
    status = exit_status.FAILURE
    try:
        exam.add(
            findings.Finding(
                exam.current,
                "no end",
                f"no answer after {_LIMIT_S} s",
                status="fault",
                advice="the device, or the disk, is dead or busy: look at the machine",
            )
        )
        status = _finish(exam, start, time.monotonic() + _FIRST_WAITS_S)
        sys.stdout.flush()
    finally:
        os._exit(status or exit_status.FAILURE)
