import numpy as np

from mlgcn_jax.evaluation import tables


def results(m_ap: float | None, cf1: float | None, of1: float | None, top3: tuple):
    return {
        "mAP": m_ap,
        "CF1": cf1,
        "OF1": of1,
        "top3": {"CF1": top3[0], "OF1": top3[1]},
    }


def test_table_like_the_papers():
    rows = {
        "ResNet-101": results(0.651, 0.623, 0.602, (0.626, 0.592)),
        "GCN": results(0.793, 0.732, 0.752, (0.698, 0.704)),
        "none": results(None, 0.0, 1.0, (0.0, 0.0)),
    }
    assert tables.format_table(rows).splitlines() == [
        "model         mAP    CF1    OF1  top-3 CF1  top-3 OF1",
        "ResNet-101   65.1   62.3   60.2       62.6       59.2",
        "GCN          79.3   73.2   75.2       69.8       70.4",
        "none            -    0.0  100.0        0.0        0.0",
    ]


def test_deviations_stand_beside_their_means():
    spread = results(0.0123, 0.001, 0.1, (0.0, 0.02))
    rows = {
        "GCN": {**results(0.793, 0.732, 1.0, (0.698, 0.704)), "std": spread},
        "one seed": {
            **results(0.793, 0.732, 1.0, (0.698, 0.704)),
            "std": results(None, None, None, (None, None)),
        },
    }
    assert tables.format_table(rows).splitlines() == [
        "model            mAP         CF1           OF1   top-3 CF1   top-3 OF1",
        "GCN       79.3 ± 1.2  73.2 ± 0.1  100.0 ± 10.0  69.8 ± 0.0  70.4 ± 2.0",
        "one seed        79.3        73.2         100.0        69.8        70.4",
    ]


def test_per_label_is_sorted_and_leaves_out_labels_without_positives():
    columns = {
        "ap": np.array([0.5, np.nan, 0.993, 0.5]),
        "num_positives": np.array([10, 0, 1234, 7]),
    }
    assert tables.format_per_label(["sky", "sea", "猫耳", "maid"], columns) == (
        "   AP  positives  label\n"
        " 99.3      1,234  猫耳\n"
        " 50.0         10  sky\n"
        " 50.0          7  maid"
    )


def test_per_label_shows_both_ends_of_a_long_list():
    columns = {"ap": np.linspace(1, 0, 25), "num_positives": np.ones(25, int)}
    lines = tables.format_per_label([f"l{i}" for i in range(25)], columns).splitlines()
    assert lines[11] == "  ... 5 more labels"
    shown = [line.split()[-1] for line in (*lines[1:11], *lines[12:])]
    assert shown == [f"l{i}" for i in (*range(10), *range(15, 25))]
