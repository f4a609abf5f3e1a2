"""`mlgcn compare`: several models, one table; a second call trains nothing."""

import json
import pathlib
import shutil

import crawl_folders
import numpy as np
import pytest
from command_line import mlgcn, preempt

CONFIG = pathlib.Path(__file__).parent / "tiny_config.py"
ROWS = ("densenet_tiny-linear-average", "densenet_tiny-gcn-max")
CALL = (
    *("compare", f"--config={CONFIG}", "--config.data_dir=data"),
    *("--config.build.source=crawl", f"--rows={','.join(ROWS)}"),
)


def read(path: pathlib.Path) -> dict:
    return json.loads(path.read_text())


@pytest.fixture
def crawl(tmp_path) -> pathlib.Path:
    crawl_folders.make_crawl_folder(tmp_path / "crawl", num_works=40)
    return tmp_path


def test_rows_are_trained_and_measured_once_and_stand_in_one_table(crawl):
    output, _ = mlgcn(*CALL, "--workdir=runs", cwd=crawl)
    table = output.splitlines()
    assert table[0].split()[:2] == ["model", "mAP"]
    assert [line.split()[0] for line in table[1:]] == list(ROWS)

    written = read(crawl / "runs" / "compare.json")
    assert list(written) == list(ROWS)
    for row in ROWS:
        folder = crawl / "runs" / row
        assert written[row] == read(folder / "metrics.json")
        model = read(folder / "config.json")["model"]
        assert f"{model['backbone']}-{model['head']}-{model['pooling']}" == row

    curves = [crawl / "runs" / row / "metrics.jsonl" for row in ROWS]
    results = [crawl / "runs" / row / "predictions.npz" for row in ROWS]
    before = [path.read_text() for path in curves]
    written_at = [path.stat().st_mtime_ns for path in results]
    again, log = mlgcn(*CALL, "--workdir=runs", cwd=crawl)
    assert again == output
    assert [path.read_text() for path in curves] == before
    assert [path.stat().st_mtime_ns for path in results] == written_at
    assert log.count("resuming at step") == len(ROWS)

    # What is in the second row's folder is told before the first is trained.
    shutil.rmtree(crawl / "runs" / ROWS[0])
    _, errors = mlgcn(*CALL, "--workdir=runs", "--config.seed=1", cwd=crawl, status=1)
    assert "seed: 0 -> 1" in errors
    crawl_folders.make_crawl_folder(crawl / "other", num_works=24)
    other = ("--config.build.source=other", "--config.data_dir=data2")
    _, errors = mlgcn(*CALL, "--workdir=runs", *other, cwd=crawl, status=1)
    assert "a run on another dataset" in errors
    assert not (crawl / "runs" / ROWS[0]).exists()


def test_a_preempted_comparison_goes_on_and_ends_with_the_same_table(crawl):
    rarely = [f"--config.{x}_every_epochs=20" for x in ("evaluate", "checkpoint")]
    call = (*CALL, "--config.num_epochs=20", *rarely)
    whole, _ = mlgcn(*call, "--workdir=whole", cwd=crawl)
    call = (*call, "--workdir=runs")
    for row, done in zip(ROWS, ([], [ROWS[0]]), strict=True):
        curves = crawl / "runs" / row / "metrics.jsonl"
        _, log = preempt(
            *call,
            cwd=crawl,
            when=lambda path=curves: path.exists() and path.read_text().count("\n") > 5,
        )
        assert "stopped by a signal" in log
        compared = crawl / "runs" / "compare.json"
        assert (list(read(compared)) if compared.exists() else []) == done
    output, _ = mlgcn(*call, cwd=crawl)
    assert output == whole
    compared, expected = (read(crawl / n / "compare.json") for n in ("runs", "whole"))
    assert compared == expected


def test_seeds_are_runs_of_their_own_with_mean_and_deviation(crawl):
    row = ROWS[0]
    call = (*CALL, "--workdir=runs", f"--rows={row}", "--seeds=3,5")
    output, _ = mlgcn(*call, cwd=crawl)
    folders = [crawl / "runs" / f"{row}-seed{seed}" for seed in (3, 5)]
    assert [read(folder / "config.json")["seed"] for folder in folders] == [3, 5]
    runs = [read(folder / "metrics.json") for folder in folders]
    compared = read(crawl / "runs" / "compare.json")[row]
    assert compared["seeds"] == dict(zip(("3", "5"), runs, strict=True))
    maps = [run["mAP"] for run in runs]
    assert maps[0] != maps[1]
    mean, deviation = np.mean(maps), np.std(maps, ddof=1)
    assert compared["mAP"] == pytest.approx(mean)
    assert compared["std"]["mAP"] == pytest.approx(deviation)
    _, line = output.splitlines()
    assert line.startswith(f"{row}  ")
    assert f" {100 * mean:.1f} ± {100 * deviation:.1f} " in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([f"--rows={ROWS[0]},densenet9-gcn-max"], "densenet9"),
        ([f"--rows={ROWS[0]},densenet_tiny-gcn"], "no BACKBONE-HEAD"),
        ([f"--rows={ROWS[0]},densenet121-gcn-max"], "needs at least 29 px"),
        ([f"--rows={ROWS[0]},{ROWS[1]},{ROWS[0]}"], "--rows: one is named twice"),
        (["--seeds=0,1,00"], "--seeds: one is named twice"),
        (["--seeds=0,one"], "--seeds: expected numbers like 0,1,2"),
    ],
)
def test_a_wrong_call_is_told_before_anything_is_done(tmp_path, arguments, message):
    small = ("--workdir=runs", "--config.image_size=16")
    _, errors = mlgcn(*CALL, *small, *arguments, cwd=tmp_path, status=2)
    assert message in errors
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds=0,-1"], "config.seed=-1 must be at least 0"),
        (["--config.initial_weights=none.npz"], "there is no file of weights none.npz"),
    ],
)
def test_a_row_that_could_not_start_is_told_before_anything_is_done(
    tmp_path, arguments, message
):
    _, errors = mlgcn(*CALL, "--workdir=runs", *arguments, cwd=tmp_path, status=1)
    assert message in errors
    assert not list(tmp_path.iterdir())
