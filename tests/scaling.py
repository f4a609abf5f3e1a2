"""Images a second of one to four processes, each on a core of its own.

PYTHONPATH=tests python tests/scaling.py [--epochs=1] [--config.batch_size=16 ...]

The quick start's model trains on its sample. `strong`: the batch stays the same, so a
process has less of it; `weak`: it grows with the processes. Processes beyond the
machine's cores share them. What is left over of the command line goes to the runs.
"""

import itertools
import os
import pathlib
import statistics
import tempfile

from absl import app, flags
from process_runs import said, start, wait
from run_logs import curves

from configs import quickstart
from tfds_pixiv import build

_COUNTS = flags.DEFINE_list("counts", ["1", "2", "4"], "Numbers of processes.")
_EPOCHS = flags.DEFINE_float("epochs", 0.5, "Length of a run.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Images of a process's batch.")


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
    cores = sorted(os.sched_getaffinity(0))
    started = start(
        workdir,
        pathlib.Path(data_dir),
        num_processes=count,
        config=pathlib.Path(quickstart.__file__),
        cores=[*itertools.islice(itertools.cycle(cores), count)],
        options=[
            f"--config.num_epochs={_EPOCHS.value}",
            "--config.log_every_steps=5",
            f"--config.batch_size={batch_size}",
            "--config.num_threads=1",
            *options,
        ],
    )
    assert wait(started) == [0] * count, said(workdir)
    speeds = [line["images_per_s"] for line in curves(workdir) if "loss" in line]
    return statistics.median(speeds[1:])  # the first is that of a process warming up


if __name__ == "__main__":
    app.run(main)
