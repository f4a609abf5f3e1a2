"""Images a second of one to four processes that share the cores of this machine.

PYTHONPATH=tests python tests/scaling.py [--steps=60] [-- --config.seed=1 ...]

A small model trains on the sample. `strong`: the batch stays the same, so a process has
less of it; `weak`: it grows with the processes. Since all share the cores, 1.00 of one
process would say that the messages between them cost nothing. What comes after -- goes
to the runs: --config.model.backbone=densenet121 takes minutes to compile, in each.
"""

import itertools
import pathlib
import signal
import statistics
import tempfile

from absl import app, flags
from process_runs import said, start, wait, wait_for_step
from run_logs import curves

from configs import quickstart
from mlgcn_jax.commands import exit_status
from tfds_pixiv import build

_COUNTS = flags.DEFINE_list("counts", ["1", "2", "4"], "Numbers of processes.")
_STEPS = flags.DEFINE_integer("steps", 60, "After so many a run is stopped.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Images of a process's batch.")


_MOST_S = 1800.0


def main(argv: list[str]) -> None:
    """Prints a table."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        config = quickstart.get_config()
        config.data_dir = str(folder / "built")
        build.build_as_configured(config)
        print("processes  scaling  batch  images/s  of one process", flush=True)
        of_one = None
        for count, kind in itertools.product(map(int, _COUNTS.value), _KINDS):
            if count == 1 and kind == "weak":
                continue
            batch_size = _BATCH_SIZE.value * (count if kind == "weak" else 1)
            workdir = folder / f"{kind}-{count}"
            speed = _images_per_s(workdir, config.data_dir, count, batch_size, argv[1:])
            of_one = of_one or speed
            print(
                f"{count:9}  {kind:7}  {batch_size:5}  {speed:8.1f}  "
                f"{speed / of_one:.2f}",
                flush=True,
            )


_KINDS = ("strong", "weak")


def _images_per_s(
    workdir: pathlib.Path,
    data_dir: str,
    count: int,
    batch_size: int,
    options: list[str],
) -> float:
    started = start(
        workdir,
        pathlib.Path(data_dir),
        num_processes=count,
        config=pathlib.Path(quickstart.__file__),
        options=[
            "--config.log_every_steps=5",
            f"--config.batch_size={batch_size}",
            "--config.model.backbone=densenet_tiny",
            "--config.image_size=128",
            "--config.num_threads=1",
            *options,
        ],
    )
    wait_for_step(workdir, _STEPS.value, started, timeout_s=_MOST_S)
    started[0].send_signal(signal.SIGTERM)
    assert wait(started) == [exit_status.PREEMPTED] * count, said(workdir)
    speeds = [line["images_per_s"] for line in curves(workdir) if "loss" in line]
    return statistics.median(speeds[1:])  # the first is that of a process warming up


if __name__ == "__main__":
    app.run(main)
