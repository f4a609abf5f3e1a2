"""Measure R: the same run of both frameworks, to a threshold."""

import configurations
import numpy as np
import pytest

from mlgcn_jax.benchmarks import (
    figures,
    jax_whole_run,
    race,
    torch_whole_run,
    whole_run,
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, data_dir):
    """What a run of two short epochs starts from."""
    folder = tmp_path_factory.mktemp("whole_run")
    config = configurations.tiny(data_dir, optimizer__schedule="warmup_cosine")
    whole_run.prepare(config, folder)
    return folder


@pytest.mark.parametrize("threshold_map", [0.0, 1.1])
def test_whole_runs_of_both_say_when_they_reached_the_threshold(
    prepared, threshold_map
):
    contestants = {
        name: race.Contestant(f"{name}_whole_run") for name in ("jax", "torch")
    }
    case = {"folder": str(prepared), "threshold_map": threshold_map}
    results = race.race(contestants, "R", case, rounds=1)
    for result in results.values():
        facts = result.facts
        assert 0 < facts["start_s"] < facts["total_s"] < result.ready_s
        assert 0 < facts["mAP"] <= 1
        if threshold_map == 0:
            assert facts["start_s"] < facts["to_threshold_s"] < facts["total_s"]
        else:
            assert facts["to_threshold_s"] is None


def test_both_sides_learn_the_same(prepared):
    opened = whole_run.Prepared(prepared)
    sides = [jax_whole_run.Jax(opened), torch_whole_run.Torch(opened)]
    shape = (8, 32, 32, 3)
    rng = np.random.default_rng(0)
    half = rng.integers(0, 256, (8, 32, 16, 3), dtype=np.uint8)
    image = np.concatenate([half, half[:, :, ::-1]], axis=2)  # a flip changes nothing
    assert image.shape == shape
    labels = rng.random((8, len(opened.data.vocabulary))) < 0.3
    batch = {
        "image": image,
        "labels": labels.astype(np.float32),
        "size": np.full((8, 2), 32, np.int32),
    }
    for num_updates in range(3):
        for side in sides:
            side.begin_scoring()
        ours, theirs = (side.score(image) for side in sides)
        np.testing.assert_allclose(ours, theirs, atol=2e-3)
        if num_updates == 1:  # the schedule warms up from a rate of 0
            first = ours
        for side in sides:
            side.update(batch, opened.learning_rates[num_updates])
    assert np.abs(ours - first).max() > 0


def test_the_row_of_a_whole_run_counts_from_the_start_of_the_process():
    facts = {"start_s": 10.0, "to_threshold_s": 60.0, "total_s": 90.0, "mAP": 0.5}
    slow = {**facts, "to_threshold_s": 85.0}
    results = {"jax": race.Result(0, 95.0, facts), "torch": race.Result(0, 95.0, slow)}
    row = figures.whole_run(results)
    assert (row["jax_s"], row["jax_started_s"], row["jax_total_s"]) == (65, 50, 95)
    assert row["ratio"] == 90 / 65
    assert row["started_ratio"] == 1.5
    never = {**facts, "to_threshold_s": None}
    row = figures.whole_run({**results, "jax": race.Result(0, 95.0, never)})
    assert row["jax_s"] is None
    assert "ratio" not in row
    alone = figures.whole_run({"jax": results["jax"]})  # on a TPU, or PyTorch failed
    assert alone["jax_s"] == 65 and "ratio" not in alone
