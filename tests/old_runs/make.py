"""Makes the archives beside this file: a run of each commit that is named, half done.

PYTHONPATH=tests:. python tests/old_runs/make.py COMMIT [COMMIT ...]
    [--python=PYTHON]

The commit's own code builds a dataset, trains a DenseNet of 1,000 parameters for two
epochs on eight CPU devices, as the tests have, and evaluates it. DATE-COMMIT.tar.xz is
that run without what it did after its first checkpoint, as a kill leaves it, and
`expected.json`: what the commit itself did next. dataset-FINGERPRINT.tar.xz is its
dataset, one for all the commits that build the same. PYTHON is one with the commits'
dependencies, this one by default: jax 0.10.1 runs them all.
"""

import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from typing import Any

import crawl_folders
import numpy as np
from absl import app, flags

_PYTHON = flags.DEFINE_string(
    "python", sys.executable, "With the dependencies of the commits."
)

HERE = pathlib.Path(__file__).parent
# What all commits know. A moving average is an item of checkpoints of its own; the
# schedule shows where the number of steps of an epoch is another one.
_CONFIG = """
from configs import default


def get_config():
    config = default.get_config()
    config.data_dir = "data"
    config.num_epochs = 2
    config.batch_size = 8
    config.image_size = 32
    config.log_every_steps = 1
    config.model.backbone = "densenet_smallest"
    config.model.hidden_features = 8
    config.graph.embedding_dim = 4
    config.optimizer.schedule = "warmup_cosine"
    config.optimizer.ema_decay = 0.9
    return config
"""


def main(argv: list[str]) -> None:
    """Makes a run of every commit."""
    if len(argv) < 2:
        raise app.UsageError("expected commits")
    for commit in argv[1:]:
        with tempfile.TemporaryDirectory() as name:
            print(make(commit, pathlib.Path(name)))


def make(commit: str, scratch: pathlib.Path) -> pathlib.Path:
    """Returns the archive of a run of a commit."""
    name = _git("log", "-1", "--format=%cs-%h", "--abbrev=7", commit).decode().strip()
    source = scratch / "source"
    with tarfile.open(fileobj=io.BytesIO(_git("archive", commit))) as tar:
        tar.extractall(source, filter="data")
    crawl_folders.make_crawl_folder(scratch / "crawl", **crawl_folders.OF_OLD_RUNS)
    (scratch / "config.py").write_text(_CONFIG)
    for stage in (
        ("build", "crawl", "--data_dir=data"),
        ("train", "--config=config.py", "--workdir=run"),
        ("evaluate", "run", "--data_dir=data"),
    ):
        _run_stage(source, *stage)
    expected = _cut_short(scratch / "run")
    expected["dataset"] = _keep_dataset(scratch)
    _write_json(scratch / "expected.json", expected)
    archive = HERE / f"{name}.tar.xz"
    _pack(archive, scratch, ["run", "expected.json"])
    return archive


def _git(*arguments: str) -> bytes:
    return subprocess.run(
        ["git", *arguments], cwd=HERE.parents[1], check=True, capture_output=True
    ).stdout


def _run_stage(source: pathlib.Path, *arguments: str) -> None:
    environment = os.environ | {
        "PYTHONPATH": f"{source}:{HERE.parent}",
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "8",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XDG_CACHE_HOME": str(source / "cache"),  # what it compiles is of no use later
    }
    subprocess.run(
        [_PYTHON.value, "-m", "smallest_backbone", *arguments],
        cwd=source.parent,
        env=environment,
        check=True,
    )


def _cut_short(run: pathlib.Path) -> dict[str, Any]:
    """Takes from a run what it did after its first checkpoint; returns this."""
    first, last = sorted(int(x.name) for x in (run / "checkpoints").glob("[0-9]*"))
    evaluated = np.load(run / "predictions.npz")
    metrics = json.loads((run / "metrics.json").read_text())
    log = run / "metrics.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    shutil.rmtree(run / "checkpoints" / str(last))
    shutil.rmtree(run / "tensorboard")
    shutil.rmtree(run / "heartbeats", ignore_errors=True)
    for name in ("metrics.json", "per_label.csv", "predictions.npz", ".lock"):
        (run / name).unlink(missing_ok=True)
    log.write_text(
        "".join(json.dumps(line) + "\n" for line in lines if line["step"] <= first)
    )
    dataset = json.loads((run / "dataset.json").read_text())
    _write_json(run / "dataset.json", dataset | {"directory": "data"})
    return {
        "losses": {line["step"]: line["loss"] for line in lines if "loss" in line},
        "mAP": metrics["mAP"],
        "scores": {
            f"{id}_{page}": scores.round(7).tolist()
            for id, page, scores in zip(
                evaluated["id"], evaluated["page"], evaluated["scores"], strict=True
            )
        },
    }


def _keep_dataset(scratch: pathlib.Path) -> str:
    """Returns the name of the dataset's archive, which is made where it is new."""
    dataset = json.loads((scratch / "run" / "dataset.json").read_text())
    name = f"dataset-{dataset['fingerprint'][:7]}.tar.xz"
    if not (HERE / name).exists():
        _pack(HERE / name, scratch, ["data"])
    return name


def _write_json(path: pathlib.Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _pack(archive: pathlib.Path, folder: pathlib.Path, names: list[str]) -> None:
    """Packs files in a fixed order, without owner and date."""

    def neutral(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = entry.mtime = 0
        entry.uname = entry.gname = ""
        return entry

    with tarfile.open(archive, "w:xz", preset=9) as tar:
        for name in names:
            tar.add(folder / name, name, filter=neutral)


if __name__ == "__main__":
    app.run(main)
