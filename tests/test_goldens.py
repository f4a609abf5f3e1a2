"""What PyTorch computed for a tiny DenseNet with GCN head, kept in a file.

`tests/parity/make_goldens.py` writes it; `tests/parity` checks that it is current, and
has the same for DenseNet-121.
"""

import pathlib

import golden_case
import numpy as np
import our_side
import pytest

PATH = pathlib.Path(__file__).parent / "goldens" / "densenet_tiny.npz"


@pytest.fixture(scope="module")
def goldens():
    assert PATH.stat().st_size <= 50_000
    with np.load(PATH) as archive:
        return dict(archive)


@pytest.fixture(scope="module")
def case():
    return our_side.make_case("densenet_tiny", golden_case.make_golden_batch())


def test_stages_and_logits(goldens, case):
    ours = our_side.stages(case)
    expected = {n.removeprefix("stage/"): x for n, x in goldens.items() if "/" in n}
    assert expected.keys() | {"conv0", "logits"} == ours.keys()
    for name, value in expected.items():
        atol = 1e-5 * np.abs(value).max()
        np.testing.assert_allclose(ours[name], value, rtol=0, atol=atol, err_msg=name)
    np.testing.assert_allclose(ours["logits"], goldens["logits"], rtol=0, atol=1e-4)


def assert_same_digest(ours: np.ndarray, expected: np.ndarray, tolerance: float):
    """The projection of a tensor may be near zero, its norm is not."""
    difference = np.abs(ours - expected)
    assert (difference <= tolerance * expected[:, :1]).all(), difference.max()


def test_gradients(goldens, case):
    _, gradients = our_side.first_gradient(case)
    assert_same_digest(golden_case.digest(gradients), goldens["gradients"], 1e-3)


def test_five_updates(goldens, case):
    losses, weights = our_side.train(
        case,
        num_steps=golden_case.NUM_STEPS,
        learning_rate=golden_case.LEARNING_RATE,
    )
    np.testing.assert_allclose(losses, goldens["losses"], rtol=1e-4)
    before = golden_case.make_weights({name: x.shape for name, x in weights.items()})
    updates = {name: weights[name] - before[name] for name in weights}
    assert_same_digest(golden_case.digest(updates), goldens["updates"], 1e-2)
