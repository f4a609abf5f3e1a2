"""Losses named in a config as `package.module:function`."""

import jax
import numpy as np
import pytest
from test_losses import make, make_batch

FOREIGN = """
import jax
import jax.numpy as jnp

NUMBER = 3

def good(logits, labels, weights, epoch, *, power=1.0):
    entries = jnp.abs(labels - jax.nn.sigmoid(logits)) ** power
    return (entries if weights is None else entries * weights).mean(axis=1)

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
        ("losses_of_others:fails", {}, "cannot be traced", TypeError),
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
