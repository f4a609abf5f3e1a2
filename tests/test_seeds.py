from mlgcn_jax.evaluation import seeds


def results(m_ap: float | None, cf1: float) -> dict:
    """What metrics.json has, in short."""
    return {"step": 7, "mAP": m_ap, "CF1": cf1, "top3": {"CF1": 2 * cf1}, "num": 3}


def test_means_and_deviations_by_hand():
    first, second = results(0.25, 0.125), results(0.75, 0.125)
    assert seeds.summarize({4: first, 9: second}) == {
        "mAP": 0.5,
        "CF1": 0.125,
        "top3": {"CF1": 0.25},
        "std": {"mAP": 0.125**0.5, "CF1": 0.0, "top3": {"CF1": 0.0}},
        "seeds": {"4": first, "9": second},
    }


def test_a_single_seed_has_no_deviation():
    summary = seeds.summarize({0: results(0.25, 0.5)})
    assert summary["mAP"] == 0.25
    assert summary["std"] == {"mAP": None, "CF1": None, "top3": {"CF1": None}}


def test_a_dataset_without_positives_has_no_mean():
    summary = seeds.summarize({0: results(None, 0.0), 1: results(None, 0.0)})
    assert summary["mAP"] is None and summary["std"]["mAP"] is None
