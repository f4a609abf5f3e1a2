"""The whole model beside PyTorch's: activations, logits, gradients, five updates.

PyTorch computes in float64, so what is measured is our rounding alone.
"""

import golden_case
import mlgcn_metrics
import numpy as np
import our_side
import pytest
import reference
import torch

from mlgcn_jax.evaluation import metrics


def relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference in units of the largest value."""
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def assert_near(ours, theirs, tolerance: float):
    assert ours.keys() == theirs.keys()
    far = {name: relative(ours[name], theirs[name]) for name in theirs}
    assert max(far.values()) <= tolerance, max(far, key=lambda name: far[name])


@pytest.fixture(scope="module")
def batch():
    return golden_case.make_batch(8, 64)


@pytest.mark.parametrize("backbone", ["densenet_tiny", "densenet121"])
def test_every_stage_and_the_logits_are_those_of_pytorch(backbone, batch):
    case = reference.make_case(backbone, batch)
    seen = reference.watch(case)
    with torch.no_grad():
        logits = case.model.eval()(case.image).numpy()
    ours = our_side.stages(our_side.make_case(backbone, batch, case.weights))
    assert seen.keys() >= {"conv0", "pool0", "denseblock2", "norm5"}
    for name, expected in seen.items():
        assert relative(ours[name], expected) <= 1e-5, name
    assert np.abs(logits).max() > 1  # they say something
    np.testing.assert_allclose(ours["logits"], logits, rtol=0, atol=1e-4)


def test_every_gradient_is_that_of_pytorch(batch):
    case = reference.make_case("densenet_tiny", batch)
    theirs = reference.train(case, num_steps=1, learning_rate=1e-3)
    mine = our_side.make_case("densenet_tiny", batch, case.weights)
    logits, gradients = our_side.first_gradient(mine)
    np.testing.assert_allclose(logits, theirs.logits, rtol=0, atol=1e-4)
    assert_near(gradients, theirs.gradients, 1e-4)


def test_five_updates_are_those_of_pytorch(batch):
    case = reference.make_case("densenet_tiny", batch)
    theirs = reference.train(case, num_steps=5, learning_rate=1e-3)
    mine = our_side.make_case("densenet_tiny", batch, case.weights)
    losses, weights = our_side.train(mine, num_steps=5, learning_rate=1e-3)
    np.testing.assert_allclose(losses, theirs.losses, rtol=1e-4)
    assert losses[-1] < 0.6 * losses[0]
    statistics = {name for name in weights if "running" in name}
    assert_near(
        {name: weights[name] for name in statistics},
        {name: theirs.weights[name] for name in statistics},
        1e-4,
    )
    # Adam divides by the gradient's size and so enlarges the rounding of small ones.
    for name in weights.keys() - statistics:
        moved = np.linalg.norm(theirs.weights[name] - case.weights[name])
        apart = np.linalg.norm(theirs.weights[name] - weights[name])
        assert apart <= 1e-2 * moved, name


def test_scores_and_metrics_after_five_updates_are_those_of_pytorch(batch):
    """In evaluation: the running statistics of five batches, twice as many images."""
    case = reference.make_case("densenet_tiny", batch)
    reference.train(case, num_steps=5, learning_rate=1e-3)
    mine = our_side.make_case("densenet_tiny", batch, case.weights)
    _, weights = our_side.train(mine, num_steps=5, learning_rate=1e-3)

    unseen = golden_case.make_batch(16, 64)
    image = torch.from_numpy(unseen.image).permute(0, 3, 1, 2)  # [b, 3, h, w]
    with torch.no_grad():
        logits = case.model.eval()(image)
    ours = our_side.scores(our_side.make_case("densenet_tiny", unseen, weights))
    np.testing.assert_allclose(ours, torch.sigmoid(logits), rtol=0, atol=2e-4)
    assert ours.std() > 0.1  # they say something

    labels = unseen.labels > 0
    computed = metrics.compute_metrics(ours, labels)
    y = torch.from_numpy(labels)
    ap = mlgcn_metrics.average_precision(logits, y)
    counts = mlgcn_metrics.overall(logits, y).with_positives()
    expected = (ap.nanmean().item(), mlgcn_metrics.evaluate(counts)["CF1"])
    # Where two images of a label change places, or one passes the threshold, rounding
    # moves a mean over the 37 labels that have a positive by at most that.
    found = (computed["mAP"], computed["CF1"])
    assert found == pytest.approx(expected, abs=1 / 37)


def test_densenet121_trains_as_in_pytorch(batch):
    """The direction of every gradient, and what five updates make of the loss.

    Rounding decides at ReLU's kink whether a gradient passes, and in max pooling where
    to, and 120 layers enlarge it: with ordinary weights single tensors of PyTorch's own
    float32 are 8e-2 away from its float64, and one decision that falls otherwise moves
    all gradients before it by 1e-2. These weights keep inputs of ReLU from the kink,
    and with the pictures upside down no maximum is as close to the next largest value
    as rounding (as they are, two of a map are 6e-7 apart, and which is the larger one
    is luck). A norm that another norm follows has next to no gradient and no direction.
    """
    batch = batch._replace(image=np.flip(batch.image, axis=1).copy())
    case = reference.make_case("densenet121", batch, offset=1.0)
    assert reference.nearest_maxima(case) > 1e-5
    theirs = reference.train(case, num_steps=5, learning_rate=1e-4)
    mine = our_side.make_case("densenet121", batch, case.weights)
    logits, gradients = our_side.first_gradient(mine)
    np.testing.assert_allclose(logits, theirs.logits, rtol=0, atol=1e-4)
    largest = max(np.abs(gradient).max() for gradient in theirs.gradients.values())
    compared = 0
    for name, expected in theirs.gradients.items():
        found = gradients[name]
        if np.abs(expected).max() < 1e-3 * largest:
            assert np.abs(found - expected).max() <= 1e-4 * largest, name
            continue
        apart = np.linalg.norm(found - expected)
        assert apart <= 1e-4 * np.linalg.norm(expected), name
        compared += 1
    assert compared > 200  # of 364 tensors
    losses, _ = our_side.train(mine, num_steps=5, learning_rate=1e-4)
    np.testing.assert_allclose(losses, theirs.losses, rtol=1e-4)
    assert losses[-1] < 0.6 * losses[0]
