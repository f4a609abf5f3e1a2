"""Losses: arithmetic by hand, the formulas in NumPy and float64, properties."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sklearn.metrics
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mlgcn_jax.learning.losses import registry

# Of six labels one is in no training image, and one is in all.
COUNTS = np.array([0, 3, 20, 50, 99, 100])
NUM_EXAMPLES = 100
NAMES = sorted(registry.LOSSES)
SMOOTHED = [
    name for name in NAMES if "label_smoothing" in registry.complete_options(name, {})
]
# Every branch of every loss: name, options, epoch.
CASES = [
    ("sigmoid_cross_entropy", {}, 0.0),
    ("sigmoid_cross_entropy", {"label_smoothing": 0.1}, 0.0),
    ("weighted", {}, 0.0),
    ("weighted", {"power": 0.5, "max_weight": 3.0}, 0.0),
    ("focal", {}, 0.0),
    ("focal", {"gamma": 0.5}, 0.0),
    ("asymmetric", {}, 0.0),
    ("asymmetric", {"gamma_positive": 1.0, "gradient_through_weight": True}, 0.0),
    ("asymmetric", {"gamma_negative": 0.5, "gradient_through_weight": True}, 0.0),
    ("asymmetric", {"margin": 0.0, "gradient_through_weight": True}, 0.0),
    ("hill", {}, 0.0),
    ("hill", {"lamb": 2.0, "margin": 0.5, "gamma": 1.0}, 0.0),
    ("splc", {}, 0.5),
    ("splc", {"label_smoothing": 0.05}, 1.0),
    ("zlpr", {}, 0.0),
    ("distribution_balanced", {}, 0.0),
    ("distribution_balanced", {"negative_scale": 5.0, "mu": 0.3, "gamma": 1.0}, 0.0),
]


def make(name, counts=COUNTS, num_examples=NUM_EXAMPLES, **options):
    return registry.create(name, options, counts=counts, num_examples=num_examples)


def value(name, logits, labels, weights=None, epoch=0.0, **options):
    counts = np.full(np.shape(logits)[1], 50)
    return make(name, counts, **options)(
        jnp.asarray(logits, jnp.float32),
        jnp.asarray(labels, jnp.float32),
        None if weights is None else jnp.asarray(weights, jnp.float32),
        epoch,
    )


def gradient(loss, logits, labels, weights=None, epoch=0.0):
    return jax.grad(lambda x: loss(x, labels, weights, epoch).sum())(logits)


def make_batch(num_images=7):
    rng = np.random.default_rng(0)
    shape = (num_images, len(COUNTS))
    logits = 3 * rng.normal(size=shape)
    labels = (rng.random(shape) < 0.4).astype(np.float64)
    labels[0] = 0  # an image without labels
    return jnp.asarray(logits, jnp.float32), jnp.asarray(labels, jnp.float32)


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


@pytest.mark.parametrize(("name", "options", "epoch"), CASES)
def test_unknown_labels_add_nothing_and_have_no_gradient(name, options, epoch):
    logits, labels = make_batch()
    unknown = np.zeros(labels.shape, bool)
    unknown[1, 2] = unknown[2, :3] = unknown[3] = True  # of image 3 nothing is known
    labels = jnp.where(unknown, -1, labels)
    loss = make(name, **options)
    expected = loss(logits, labels, None, epoch)
    assert expected[3] == 0
    for replaced in (1e4, -1e4, jnp.inf, jnp.nan):
        other = jnp.where(unknown, replaced, logits)
        found = loss(other, labels, None, epoch)
        np.testing.assert_array_equal(found, expected)
        found = np.asarray(gradient(loss, other, labels, epoch=epoch))
        assert np.isfinite(found).all()
        np.testing.assert_array_equal(found[unknown], 0)
        assert (found[1][~unknown[1]] != 0).any()


@pytest.mark.parametrize("name", SMOOTHED)
def test_an_unknown_label_leaves_the_others_as_they_are(name):
    """The divisor stays l: what is left are two thirds of the mean over two labels."""
    found = value(name, [[1, -2, 3]], [[1, 0, -1]], label_smoothing=0.1)
    expected = value(name, [[1, -2]], [[1, 0]], label_smoothing=0.1)
    np.testing.assert_allclose(found, expected * 2 / 3, rtol=1e-6)


@pytest.mark.parametrize("name", SMOOTHED)
def test_soft_labels_mix_the_losses_of_present_and_absent(name):
    logits = np.linspace(-4, 4, 9)[:, None]
    ends = [value(name, logits, np.full((9, 1), y)) for y in (0, 1)]
    found = value(name, logits, np.full((9, 1), 0.3))
    np.testing.assert_allclose(found, 0.7 * ends[0] + 0.3 * ends[1], rtol=1e-5)


@pytest.mark.parametrize(("name", "options", "epoch"), CASES)
def test_extremes_are_finite(name, options, epoch):
    row = [-1e4, -100.0, -20.0, 20.0, 100.0, 1e4]  # of labels of no image to all
    logits = jnp.asarray([row, row[::-1]] * 3)
    labels = jnp.repeat(jnp.asarray([0.0, 0.5, 1.0]), 12).reshape(6, 6)
    loss = make(name, **options)
    assert np.isfinite(loss(logits, labels, None, epoch)).all()
    assert np.isfinite(gradient(loss, logits, labels, epoch=epoch)).all()


@pytest.mark.parametrize("name", NAMES)
def test_one_label_and_one_image(name):
    for count in (0, 1):
        loss = make(name, np.array([count]), num_examples=1)
        for label in (-1.0, 0.0, 1.0):
            found = loss(jnp.ones((1, 1)), jnp.full((1, 1), label), None, 0.0)
            assert found.shape == (1,) and np.isfinite(found).all()


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_logits_are_computed_in_float32(name):
    logits, labels = make_batch()
    low = logits.astype(jnp.bfloat16)
    found = make(name)(low, labels.astype(jnp.bfloat16), None, 0.0)
    assert found.dtype == jnp.float32
    expected = make(name)(low.astype(jnp.float32), labels, None, 0.0)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("name", "options", "epoch"), CASES)
def test_weights_multiply_entries(name, options, epoch):
    logits, labels = make_batch()
    loss = make(name, **options)
    expected = loss(logits, labels, None, epoch)
    found = loss(logits, labels, jnp.ones_like(logits), epoch)
    np.testing.assert_array_equal(found, expected)
    # A weight of 0 is an unknown label, but for the weights of distribution_balanced,
    # which are made from all labels that an image has.
    weights = jnp.ones_like(logits).at[:, -1].set(0)
    found = gradient(loss, logits, labels, weights, epoch)
    np.testing.assert_array_equal(found[:, -1], 0)
    if name != "distribution_balanced":
        unknown = labels.at[:, -1].set(-1)
        np.testing.assert_array_equal(
            loss(logits, labels, weights, epoch), loss(logits, unknown, None, epoch)
        )
    if name != "zlpr":
        doubled = loss(logits, labels, jnp.full_like(logits, 2), epoch)
        np.testing.assert_array_equal(doubled, 2 * expected)


def test_a_weight_of_two_is_a_label_twice_in_zlpr():
    found = value("zlpr", [[1, -1]], [[1, 0]], weights=[[2, 3]])
    expected = value("zlpr", [[1, 1, -1, -1, -1]], [[1, 1, 0, 0, 0]])
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_order_of_labels_does_not_matter(name):
    logits, labels = make_batch()
    order = np.random.default_rng(1).permutation(len(COUNTS))
    loss, permuted = make(name), make(name, COUNTS[order])
    np.testing.assert_allclose(
        permuted(logits[:, order], labels[:, order], None, 1.0),
        loss(logits, labels, None, 1.0),
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        gradient(permuted, logits[:, order], labels[:, order], epoch=1.0),
        gradient(loss, logits, labels, epoch=1.0)[:, order],
        rtol=1e-5,
        atol=1e-9,
    )


@pytest.mark.parametrize("name", NAMES)
def test_images_do_not_see_each_other(name):
    logits, labels = make_batch()
    loss = make(name)
    together = loss(logits, labels, None, 0.0)
    alone = [loss(logits[i : i + 1], labels[i : i + 1], None, 0.0)[0] for i in range(7)]
    np.testing.assert_allclose(together, alone, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_labels_split_over_devices(name):
    mesh = Mesh(np.array(jax.devices()[:6]).reshape(2, 3), ("data", "label"))
    logits, labels = make_batch(8)
    loss = make(name)
    split = NamedSharding(mesh, PartitionSpec("data", "label"))
    found = jax.jit(lambda x, y: loss(x, y, None, 0.0))(
        jax.device_put(logits, split), jax.device_put(labels, split)
    )
    np.testing.assert_allclose(found, loss(logits, labels, None, 0.0), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("focal", {"gamma": 0.0}),
        ("weighted", {"power": 0.0}),
        ("weighted", {"max_weight": 1.0}),
        ("asymmetric", {"gamma_negative": 0.0, "margin": 0.0}),
    ],
)
def test_neutral_options_make_cross_entropy(name, options):
    logits, labels = make_batch()
    found = make(name, **options)(logits, labels, None, 0.0)
    expected = make("sigmoid_cross_entropy")(logits, labels, None, 0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_asymmetric_with_equal_gammas_is_the_focal_loss():
    logits, labels = make_batch()
    equal = make("asymmetric", gamma_positive=2.0, gamma_negative=2.0, margin=0.0)
    np.testing.assert_allclose(
        equal(logits, labels, None, 0.0),
        make("focal")(logits, labels, None, 0.0),
        rtol=1e-6,
    )


def test_splc_changes_within_one_program():
    logits, labels = make_batch()
    loss = jax.jit(make("splc", margin=0.0, change_epoch=2.0))
    before = make("focal")(logits, labels, None, 0.0)
    late = jnp.where(jax.nn.sigmoid(logits) > 0.6, 1, labels)
    after = make("focal")(logits, late, None, 0.0)
    for epoch, expected in ((0.0, before), (1.99, before), (2.0, after), (9.0, after)):
        found = loss(logits, labels, None, jnp.float32(epoch))
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert loss._cache_size() == 1


@pytest.mark.parametrize("name", SMOOTHED)
def test_label_smoothing_moves_labels_towards_a_half(name):
    logits, labels = make_batch()
    found = make(name, label_smoothing=0.05)(logits, labels, None, 0.0)
    expected = make(name)(logits, labels * 0.9 + 0.05, None, 0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_weights_of_distribution_balanced_are_never_nan():
    """Images without labels weigh 1 + alpha; so does a label that no image has.

    z = 0, so present is 2 w 0.25 log(2) and absent is half of that. The second image
    has the label of all images: r = 1 there, and 199 for the other.
    """
    loss = make("distribution_balanced", np.array([0, 100]), kappa=0.0)
    found = loss(jnp.zeros((2, 2)), jnp.asarray([[0.0, 0.0], [0.0, 1.0]]), None, 0.0)
    frequent = 0.1 + sigmoid(10 * (1 - 0.2))
    expected = np.array([1.1, (1.1 + 2 * frequent) / 2]) * 0.25 * np.log(2)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_default_options_are_in_their_ranges():
    for name, kind in registry.LOSSES.items():
        defaults = {name: option.default for name, option in kind.options.items()}
        assert registry.complete_options(name, defaults) == defaults
        for option in kind.options.values():
            assert option.meaning and option.least < option.most


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("bce", {}, r"'bce' is not known; use one of \['asymmetric', .*'zlpr'\], or"),
        (
            "focal",
            {"gama": 1.0},
            "loss 'focal': gama: no such option; there are gamma, label",
        ),
        ("zlpr", {"label_smoothing": 0.1}, "'zlpr': label_smoothing: no such option"),
        ("focal", {"gamma": -1.0}, r"'focal': gamma=-1\.0 must be at least 0"),
        ("focal", {"gamma": float("nan")}, "gamma=nan must be at least 0"),
        ("focal", {"gamma": "2"}, "gamma='2' must be a number"),
        ("focal", {"gamma": True}, "gamma=True must be a number"),
        ("splc", {"tau": 1.5}, r"tau=1\.5 must be at most 1$"),
        ("asymmetric", {"gradient_through_weight": 1}, "must be True or False"),
        ("hill", {"label_smoothing": 0.6}, r"must be at most 0\.5"),
    ],
)
def test_what_does_not_exist_is_an_error(name, options, message):
    with pytest.raises(ValueError, match=message):
        make(name, **options)
