"""Values of losses: by hand, by formulas in NumPy and float64, by other libraries."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sklearn.metrics
from made_losses import (
    CASES,
    COUNTS,
    NAMES,
    NUM_EXAMPLES,
    gradient,
    make,
    make_batch,
    value,
)

from mlgcn_jax.learning.losses import registry


# By hand: logit, label, loss of the entry.
@pytest.mark.parametrize(
    ("name", "options", "epoch", "logit", "label", "expected"),
    [
        ("sigmoid_cross_entropy", {}, 0.0, 0, 1, 0.693147),
        ("focal", {}, 0.0, 0, 1, 0.173287),
        ("focal", {}, 0.0, 2, 0, 1.650078),
        ("asymmetric", {"gamma_positive": 1.0}, 0.0, 0, 1, 0.346574),
        ("asymmetric", {}, 0.0, 0, 1, 0.693147),
        ("asymmetric", {}, 0.0, 0, 0, 0.024515),
        ("asymmetric", {}, 0.0, -3, 0, 0.0),  # p = 0.047, under the margin
        ("asymmetric", {}, 0.0, 2, 0, 0.846415),
        ("hill", {}, 0.0, 0, 1, 0.701868),
        ("hill", {}, 0.0, 0, 0, 0.25),
        ("hill", {}, 0.0, 2, 0, 0.480380),
        ("splc", {}, 0.0, 1, 0, 0.701868),  # corrects nothing yet
        ("splc", {}, 1.0, 1, 0, 0.022658),  # p = 0.73 > tau: taken for a positive
        ("splc", {}, 1.0, 0, 0, 0.173287),
        ("splc", {}, 1.0, 1, 1, 0.173287),
        ("weighted", {}, 0.0, 0, 1, 0.693147),  # half of the images have the label
    ],
)
def test_values_by_hand(name, options, epoch, logit, label, expected):
    found = value(name, [[logit]], [[label]], epoch=epoch, **options)
    np.testing.assert_allclose(found, [expected], rtol=2e-5, atol=1e-7)


def test_zlpr_by_hand():
    """log(1 + e^-1) + log(1 + e^-1 + e^0) = 0.313262 + 0.861995."""
    found = value("zlpr", [[1, -1, 0]], [[1, 0, 0]])
    np.testing.assert_allclose(found, [1.175256], rtol=2e-6)


def test_distribution_balanced_by_hand():
    """n = (50, 10), N = 100, y = (1, 1).

    r = (1/50, 1/10) / (6/50) = (1/6, 5/6), so w = 0.1 + sigmoid(10 (r - 0.2)) =
    (0.517430, 1.098227). The shifts are 0.05/2 log(1) = 0 and 0.05/2 log(9) = 0.054931.
    At these logits z = 0, and an entry is 2 w 0.25 log(2): 0.179326 and 0.380616.
    """
    loss = make("distribution_balanced", np.array([50, 10]))
    found = loss(jnp.asarray([[0.0, 0.054931]]), jnp.ones((1, 2)), None, 0.0)
    np.testing.assert_allclose(found, [(0.179326 + 0.380616) / 2], rtol=1e-5)


def test_weighted_by_hand():
    """Labels of 10, 50, 0 and all of 100 images weigh 9, 1, and the two bounds."""
    loss = make("weighted", np.array([10, 50, 0, 100]), max_weight=20.0)
    found = loss(jnp.zeros((2, 4)), jnp.asarray([[1.0] * 4, [0.0] * 4]), None, 0.0)
    expected = np.log(2) * np.array([(9 + 1 + 20 + 1 / 20) / 4, 1])
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def focal(x, gamma):
    """Presence: -(1 - p)^gamma log p."""
    p = sigmoid(x)
    return -((1 - p) ** gamma) * np.log(p)


def oracle_mean(entry):
    def loss(x, y, weights_at, epoch, *, label_smoothing=0.0, **options):
        y = y * (1 - 2 * label_smoothing) + label_smoothing
        return entry(x, y, weights_at, epoch, **options).mean(axis=1)

    return loss


def cross_entropy(x, y, weights_at, epoch):
    return -y * np.log(sigmoid(x)) - (1 - y) * np.log(1 - sigmoid(x))


def weighted(x, y, weights_at, epoch, *, power, max_weight):
    weights = []
    for n in COUNTS:
        ratio = (NUM_EXAMPLES - n) / n if n else np.inf
        weights.append(min(max(ratio**power, 1 / max_weight), max_weight))
    return -np.array(weights) * y * np.log(sigmoid(x)) - (1 - y) * np.log(
        1 - sigmoid(x)
    )


def focal_both(x, y, weights_at, epoch, *, gamma):
    return y * focal(x, gamma) + (1 - y) * focal(-x, gamma)


def asymmetric(
    x,
    y,
    weights_at,
    epoch,
    *,
    gamma_positive,
    gamma_negative,
    margin,
    gradient_through_weight,
):
    at = x if gradient_through_weight else weights_at
    weight = y * (1 - sigmoid(at)) ** gamma_positive
    negative_weight = (1 - y) * np.maximum(sigmoid(at) - margin, 0) ** gamma_negative
    shifted = np.maximum(sigmoid(x) - margin, 0)
    return -weight * np.log(sigmoid(x)) - negative_weight * np.log(1 - shifted)


def hill(x, y, weights_at, epoch, *, lamb, margin, gamma):
    p = sigmoid(x)
    return y * focal(x - margin, gamma) + (1 - y) * (lamb - p) * p * p


def splc(x, y, weights_at, epoch, *, tau, change_epoch, margin, gamma):
    negative = focal(-x, gamma)
    if epoch >= change_epoch:
        negative = np.where(sigmoid(x) > tau, focal(x, gamma), negative)
    return y * focal(x - margin, gamma) + (1 - y) * negative


def zlpr(x, y, weights_at, epoch):
    positive = 1 + (y * np.exp(-x)).sum(axis=1)
    return np.log(positive) + np.log(1 + ((1 - y) * np.exp(x)).sum(axis=1))


def distribution_balanced(
    x, y, weights_at, epoch, *, alpha, beta, mu, kappa, negative_scale, gamma
):
    n = np.array([0.5, 3, 20, 50, 99, 99.5])  # 0 and 100 are moved by half an image
    z = x - kappa / negative_scale * np.log(NUM_EXAMPLES / n - 1)
    with np.errstate(divide="ignore"):  # an image without labels: r is infinite
        r = 1 / n / (y / n).sum(axis=1, keepdims=True)
    weight = 2 * (alpha + sigmoid(beta * (r - mu)))
    negative = focal(-negative_scale * z, gamma) / negative_scale
    return weight * (y * focal(z, gamma) + (1 - y) * negative)


ORACLES = {
    "sigmoid_cross_entropy": oracle_mean(cross_entropy),
    "weighted": oracle_mean(weighted),
    "focal": oracle_mean(focal_both),
    "asymmetric": oracle_mean(asymmetric),
    "hill": oracle_mean(hill),
    "splc": oracle_mean(splc),
    "zlpr": zlpr,
    "distribution_balanced": oracle_mean(distribution_balanced),
}


def test_every_loss_has_an_oracle_and_a_case():
    assert sorted(ORACLES) == NAMES
    assert {name for name, *_ in CASES} == set(NAMES)


@pytest.mark.parametrize(("name", "options", "epoch"), CASES)
def test_values_and_gradients_are_those_of_the_formula(name, options, epoch):
    logits, labels = make_batch(14)
    labels = labels.at[7:].set(0.7 * labels[7:] + 0.3 * labels[:7])  # mixed pictures
    loss = make(name, **options)
    x, y = np.float64(logits), np.float64(labels)
    complete = registry.complete_options(name, options)

    def oracle(moved):
        return ORACLES[name](moved, y, x, epoch, **complete)

    found = loss(logits, labels, None, epoch)
    assert found.shape == (len(logits),) and found.dtype == jnp.float32
    np.testing.assert_allclose(found, oracle(x), rtol=1e-5, atol=1e-6)

    differences = np.zeros_like(x)
    step = 1e-6  # central differences in float64 are good to 1e-9
    for label in range(x.shape[1]):
        moved = np.zeros_like(x)
        moved[:, label] = step
        differences[:, label] = (oracle(x + moved) - oracle(x - moved)) / (2 * step)
    found = jax.jit(lambda x: gradient(loss, x, labels, epoch=epoch))(logits)
    np.testing.assert_allclose(found, differences, rtol=1e-4, atol=1e-6)


def test_cross_entropy_is_the_log_loss_of_every_label():
    logits, labels = make_batch()
    expected = sklearn.metrics.log_loss(
        np.ravel(labels), sigmoid(np.float64(logits)).ravel()
    )
    loss = make("sigmoid_cross_entropy")(logits, labels, None, 0.0)
    np.testing.assert_allclose(loss.mean(), expected, rtol=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_focal_loss_is_that_of_optax(gamma):
    logits, labels = make_batch()
    expected = optax.sigmoid_focal_loss(logits, labels, gamma=gamma).mean(axis=1)
    found = make("focal", gamma=gamma)(logits, labels, None, 0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("num_labels", [1, 3, 20, 100])
@pytest.mark.parametrize("num_images", [1, 2, 32])
def test_default_has_the_gradient_of_the_mean_over_all_entries(num_images, num_labels):
    """Bit for bit: (1 / b) / l = 1 / (b l) where b is a power of two."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(num_images, 5)).astype(np.float32)
    kernel = rng.normal(size=(5, num_labels)).astype(np.float32)
    labels = (rng.random((num_images, num_labels)) < 0.3).astype(np.float32)
    loss = make("sigmoid_cross_entropy", np.ones(num_labels, np.int64))

    def of_images(kernel):
        logits = jnp.einsum("bd,dl->bl", features, kernel)
        return loss(logits, jnp.asarray(labels), None, 0.0).mean()

    def of_entries(kernel):
        logits = jnp.einsum("bd,dl->bl", features, kernel)
        return optax.sigmoid_binary_cross_entropy(logits, labels).mean()

    found = jax.jit(jax.grad(of_images))(kernel)
    np.testing.assert_array_equal(found, jax.jit(jax.grad(of_entries))(kernel))
