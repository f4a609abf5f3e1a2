"""`mlgcn compare`: several models, one table; a second call trains nothing."""

import json
import pathlib
import shutil

import crawl_folders
import pytest
from command_line import mlgcn

CONFIG = pathlib.Path(__file__).parent / "tiny_config.py"
ROWS = ("densenet_tiny-linear-average", "densenet_tiny-gcn-max")


def compare(cwd: pathlib.Path, *arguments: str, status: int = 0) -> tuple[str, str]:
    call = (
        *("compare", f"--config={CONFIG}", "--config.data_dir=data"),
        *("--config.build.source=crawl", "--workdir=runs", *arguments),
    )
    return mlgcn(*call, cwd=cwd, status=status)


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

    # The second row holds a run of another seed: told before the first is trained.
    shutil.rmtree(tmp_path / "runs" / ROWS[0])
    _, errors = compare(
        tmp_path, f"--rows={','.join(ROWS)}", "--config.seed=1", status=1
    )
    assert "seed: 0 -> 1" in errors
    assert not (tmp_path / "runs" / ROWS[0]).exists()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("densenet9-gcn-max", "densenet9"),
        ("densenet_tiny-gcn", "no BACKBONE-HEAD"),
        ("densenet121-gcn-max", "needs at least 29 px"),
    ],
)
def test_a_row_that_is_none_is_told_before_anything_is_trained(tmp_path, row, message):
    rows = f"--rows={ROWS[0]},{row}"
    _, errors = compare(tmp_path, rows, "--config.image_size=16", status=2)
    assert message in errors
    assert not list(tmp_path.iterdir())
