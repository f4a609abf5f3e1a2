"""Losses named in a config as `package.module:function`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from made_losses import make, make_batch

FOREIGN = """
import jax
import jax.numpy as jnp

NUMBER = 3

def good(logits, labels, weights, epoch, *, power=1.0):
    entries = jnp.abs(labels - jax.nn.sigmoid(logits)) ** power
    return (entries if weights is None else entries * weights).mean(axis=1)

def unweighted(logits, labels, weights, epoch):
    return jnp.square(labels - jnp.log(logits)).mean(axis=1)

def aware(logits, labels, weights, epoch):
    return jnp.where(labels < 0, 7.0, logits).mean(axis=1)

aware.takes_unknown_labels = True

def three(logits, labels, weights):
    return good(logits, labels, weights, 0)

def scalar(logits, labels, weights, epoch):
    return good(logits, labels, weights, epoch).mean()

def entries(logits, labels, weights, epoch):
    return logits - labels

def over_images(logits, labels, weights, epoch):
    return (logits - labels).mean(axis=0)

def pair(logits, labels, weights, epoch):
    return good(logits, labels, weights, epoch), epoch

def low(logits, labels, weights, epoch):
    return good(logits, labels, weights, epoch).astype(jnp.bfloat16)

def fails(logits, labels, weights, epoch):
    return float(logits.mean())

def needs_weights(logits, labels, weights, epoch):
    return (weights * logits).mean(axis=1)
"""


@pytest.fixture
def foreign(tmp_path, monkeypatch):
    (tmp_path / "losses_of_others.py").write_text(FOREIGN)
    (tmp_path / "broken_losses.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("foreign")
def test_a_foreign_loss_is_found_and_gets_its_options():
    logits, labels = make_batch()
    expected = np.abs(labels - jax.nn.sigmoid(logits)) ** 2
    found = make("losses_of_others:good", power=2.0)(logits, labels, None, 0.0)
    np.testing.assert_allclose(found, expected.mean(axis=1), rtol=1e-6)


@pytest.mark.usefixtures("foreign")
@pytest.mark.parametrize("weights", [None, 2.0])
def test_unknown_labels_add_nothing_to_a_foreign_loss(weights):
    """By hand, of two labels: |1 - 1/2| / 2 of the first, times its weight."""
    loss = make("losses_of_others:good", np.array([3, 4]))
    logits, labels = jnp.array([[0.0, 5.0]]), jnp.array([[1.0, -1.0]])
    given = None if weights is None else jnp.full((1, 2), weights)
    found, slope = jax.value_and_grad(lambda x: loss(x, labels, given, 0.0).sum())(
        logits
    )
    factor = weights or 1.0
    assert float(found) == pytest.approx(0.25 * factor)
    np.testing.assert_allclose(slope, [[-0.125 * factor, 0]], rtol=1e-6)


@pytest.mark.usefixtures("foreign")
def test_unknown_labels_have_no_gradient_where_a_loss_ignores_weights():
    loss = make("losses_of_others:unweighted", np.array([3, 4]))
    labels = jnp.array([[1.0, -1.0]])
    slope = jax.grad(lambda x: loss(x, labels, None, 0.0).sum())(jnp.ones((1, 2)))
    np.testing.assert_allclose(slope, [[-1, 0]])


@pytest.mark.usefixtures("foreign")
def test_a_loss_that_says_so_gets_unknown_labels():
    loss = make("losses_of_others:aware", np.array([3, 4]))
    found = loss(jnp.ones((1, 2)), jnp.array([[1.0, -1.0]]), None, 0.0)
    np.testing.assert_allclose(found, [4.0])


@pytest.mark.usefixtures("foreign")
@pytest.mark.parametrize(
    ("name", "options", "message", "cause"),
    [
        ("no_such_module:f", {}, "no_such_module cannot be imported", ImportError),
        ("broken_losses:f", {}, "cannot be imported .*ZeroDivision", ZeroDivisionError),
        (":f", {}, "must be named package.module:name", None),
        ("losses_of_others:best", {}, r"losses_of_others\.py\) has no best", None),
        ("losses_of_others:", {}, "must be named package.module:name", None),
        ("losses_of_others:NUMBER", {}, "is a int, expected a class or function", None),
        ("losses_of_others:three", {}, "too many positional arguments", TypeError),
        ("losses_of_others:good", {"gamma": 1}, r"options \['gamma'\]", TypeError),
        ("losses_of_others:scalar", {}, r"must return float32 of shape \(7,\)", None),
        ("losses_of_others:entries", {}, r"shape=\(7, 6\)", None),
        ("losses_of_others:over_images", {}, r"shape=\(6,\)", None),
        ("losses_of_others:pair", {}, r"returns \(ShapeDtypeStruct", None),
        ("losses_of_others:low", {}, "bfloat16", None),
        ("losses_of_others:fails", {}, "fails where it is traced", TypeError),
        ("losses_of_others:needs_weights", {}, "weights None", TypeError),
    ],
)
def test_a_foreign_loss_that_cannot_work_is_an_error(name, options, message, cause):
    with pytest.raises(ValueError, match=message) as raised:
        make(name, **options)
    if cause is None:
        assert raised.value.__cause__ is None
    else:
        assert isinstance(raised.value.__cause__, cause)
