"""`mlgcn compare`: several models, one table; a second call trains nothing."""

import json
import os
import pathlib
import subprocess
import sys

import crawl_folders
import pytest

CONFIG = pathlib.Path(__file__).parent / "tiny_config.py"
ROWS = ("densenet_tiny-linear-average", "densenet_tiny-gcn-max")


def compare(cwd: pathlib.Path, *arguments: str, status: int = 0):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mlgcn_jax.cli", "compare", f"--config={CONFIG}"),
            *("--config.data_dir=data", "--config.build.source=crawl"),
            *("--workdir=runs", *arguments),
        ],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=dict(os.environ),
        timeout=300,
    )
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr


def test_rows_are_trained_once_and_stand_in_one_table(tmp_path):
    crawl_folders.make_crawl_folder(tmp_path / "crawl", num_works=40)
    output, _ = compare(tmp_path, f"--rows={','.join(ROWS)}")
    table = output.splitlines()
    assert table[0].split()[:2] == ["model", "mAP"]
    assert [line.split()[0] for line in table[1:]] == list(ROWS)

    written = json.loads((tmp_path / "runs" / "compare.json").read_text())
    assert list(written) == list(ROWS)
    for row in ROWS:
        folder = tmp_path / "runs" / row
        assert written[row] == json.loads((folder / "metrics.json").read_text())
        model = json.loads((folder / "config.json").read_text())["model"]
        assert f"{model['backbone']}-{model['head']}-{model['pooling']}" == row

    curves = [tmp_path / "runs" / row / "metrics.jsonl" for row in ROWS]
    before = [path.read_text() for path in curves]
    again, log = compare(tmp_path, f"--rows={','.join(ROWS)}")
    assert again == output
    assert [path.read_text() for path in curves] == before
    assert log.count("resuming at step") == len(ROWS)


@pytest.mark.parametrize(
    ("row", "message"),
    [("densenet9-gcn-max", "densenet9"), ("densenet_tiny-gcn", "no BACKBONE-HEAD")],
)
def test_a_row_that_is_none_is_told_before_anything_is_trained(tmp_path, row, message):
    _, errors = compare(tmp_path, f"--rows={ROWS[0]},{row}", status=2)
    assert message in errors
    assert not list(tmp_path.iterdir())
