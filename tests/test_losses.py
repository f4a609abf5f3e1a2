"""Properties of losses; their values are in test_loss_values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from made_losses import (
    CASES,
    COUNTS,
    NAMES,
    SMOOTHED,
    gradient,
    make,
    make_batch,
    value,
)

from mlgcn_jax.learning.losses import registry


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
    frequent = 0.1 + 1 / (1 + np.exp(-10 * (1 - 0.2)))
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
