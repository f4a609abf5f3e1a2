"""The stages as their users call them: one process each, exit status, output, files."""

import json
import pathlib
import shutil

import crawl_folders
import numpy as np
import pytest
from command_line import mlgcn, preempt

from configs import default
from mlgcn_jax.commands import graph as graph_command
from mlgcn_jax.commands import predict as predict_command
from mlgcn_jax.graph import label_graph
from mlgcn_jax.serving import predict

CONFIG = pathlib.Path(__file__).parent / "tiny_config.py"


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """A folder in which a tiny config was launched: build, train, evaluate, tag."""
    folder = tmp_path_factory.mktemp("launched")
    crawl_folders.make_crawl_folder(folder / "crawl", num_works=40)
    call = (
        "launch",
        f"--config={CONFIG}",
        "--config.build.source=crawl",
        "--config.data_dir=data",
        "--workdir=run",
    )
    output, _ = mlgcn(*call, cwd=folder)
    return folder, call, output


def test_launch_says_where_everything_lies(launched):
    folder, _, output = launched
    for line in ("dataset", "run", "metrics", "samples", "tag more"):
        assert f"\n{line}  " in output
    written = json.loads((folder / "run" / "metrics.json").read_text())
    keys = {"mAP", "CF1", "OF1", "top3", "top3_thresholded", "num_examples"}
    assert keys < written.keys()
    assert (folder / "run" / "samples.png").stat().st_size > 1000


def test_launching_again_does_not_train_again(launched):
    folder, call, output = launched
    curves = (folder / "run" / "metrics.jsonl").read_text()
    again, _ = mlgcn(*call, cwd=folder)
    assert again == output
    assert (folder / "run" / "metrics.jsonl").read_text() == curves


def test_a_launch_preempted_while_it_builds_goes_on(launched, tmp_path):
    folder, call, output = launched
    shutil.copytree(folder / "crawl", tmp_path / "crawl")
    preempt(*call, cwd=tmp_path, when=(tmp_path / "data").exists)
    assert mlgcn(*call, cwd=tmp_path)[0] == output


def test_graph_shows_and_writes(launched):
    folder, _, _ = launched
    output, _ = mlgcn("graph", "data", "--gamma=0.3", cwd=folder)
    assert "6 labels" in output
    graph, counted = label_graph.load_label_graph(folder / "data" / "label_graph.npz")
    assert len(counted.counts) == 6 and graph.embeddings is not None


def test_evaluate_prints_the_table_wherever_it_is_called(launched, tmp_path):
    folder, _, _ = launched
    output, _ = mlgcn("evaluate", folder / "run", cwd=tmp_path)
    assert "top-3 CF1" in output and "circle" in output


def test_predict_writes_every_score_and_fails_for_a_broken_picture(launched):
    folder, _, _ = launched
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n")
    pictures = sorted((folder / "crawl" / "images").iterdir())[:3]
    output, log = mlgcn(
        "predict",
        "run",
        *pictures,
        "broken.png",
        "missing.png",
        "--json=tags.jsonl",
        cwd=folder,
        status=1,
    )
    written = (folder / "tags.jsonl").read_text()
    lines = [json.loads(line) for line in written.splitlines()]
    names = [*map(str, pictures), "broken.png", "missing.png"]
    assert [line["file"] for line in lines] == names
    for line in lines[:3]:
        assert set(line["scores"]) == set(crawl_folders.LABELS)
        values = list(line["scores"].values())
        assert values == sorted(values, reverse=True)
    for line in lines[3:]:
        assert set(line) == {"file", "error"}
    assert "No such file" in lines[4]["error"]
    assert len(output.splitlines()) == 3
    assert "2 of 5 pictures could not be tagged" in log


def test_graph_flags_default_to_the_default_config():
    graph = default.get_config().graph
    for flag in ("gamma", "p", "variant", "embedding", "embedding_dim"):
        assert getattr(graph_command, f"_{flag.upper()}").default == graph[flag]


def test_labels_of_equal_score_rank_by_index():
    scores = np.asarray([0.5, 0.9, 0.5, 0.9], np.float32)
    prediction = predict.Prediction(pathlib.Path("a.png"), scores, error=None)
    assert prediction.ranked().tolist() == [1, 3, 0, 2]


def test_text_shows_the_labels_above_the_threshold_or_the_best_in_brackets():
    scores = np.asarray([0.2, 0.9, 0.6], np.float32)
    prediction = predict.Prediction(pathlib.Path("a.png"), scores, error=None)
    labels = ("cat", "dog", "sky")
    text = predict_command.to_text(prediction, labels, threshold=0.5)
    assert text == "a.png: dog 0.90, sky 0.60"
    text = predict_command.to_text(prediction, labels, threshold=0.95)
    assert text == "a.png: (dog 0.90)"
