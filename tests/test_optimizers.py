"""Optimisers by name, against their formulas, and rates by names of parameters."""

import configurations
import jax
import numpy as np
import optax
import pytest

from mlgcn_jax.learning import optimizer

PARAMS = {
    "backbone": {"conv0": {"kernel": np.array([1.0, -2.0], np.float32)}},
    "head": {
        "kernel": np.array([3.0], np.float32),
        "bias": np.array([0.5], np.float32),
    },
}
GRADIENT = {
    "backbone": {"conv0": {"kernel": np.array([0.5, 0.25], np.float32)}},
    "head": {
        "kernel": np.array([-1.0], np.float32),
        "bias": np.array([2.0], np.float32),
    },
}


def updates(num_steps: int = 1, **overrides):
    """The last of some updates with the same gradient, at a rate of 0.1."""
    config = configurations.tiny(optimizer__learning_rate=0.1, **overrides)
    schedule = optimizer.create_schedule(config, steps_per_epoch=1, num_steps=10)
    tx = optimizer.create_optimizer(config, schedule, steps_per_epoch=1)
    state = tx.init(PARAMS)
    for _ in range(num_steps):
        found, state = tx.update(GRADIENT, state, PARAMS)
    return jax.device_get(found)


def test_sgd_by_hand():
    """With momentum 0.9 the second step goes 1.9 gradients far."""
    found = updates(2, optimizer__name="sgd")
    expected = jax.tree.map(lambda g: -0.1 * 1.9 * g, GRADIENT)
    jax.tree.map(np.testing.assert_allclose, found, expected)
    ahead = updates(1, optimizer__name="sgd", optimizer__sgd__nesterov=True)
    np.testing.assert_allclose(ahead["head"]["bias"], [-0.1 * 1.9 * 2.0])


def test_adamw_is_adam_with_decoupled_decay():
    """The first step of Adam is the rate, whatever the gradient; decay is beside it."""
    found = updates(optimizer__name="adamw", optimizer__weight_decay=0.01)
    np.testing.assert_allclose(found["head"]["kernel"], [0.1 - 0.1 * 0.03], rtol=1e-5)
    np.testing.assert_allclose(found["head"]["bias"], [-0.1], rtol=1e-5)
    same = updates(optimizer__weight_decay=0.01)
    jax.tree.map(np.testing.assert_array_equal, found, same)


def test_lamb_is_that_of_optax():
    found = updates(3, optimizer__name="lamb", optimizer__weight_decay=0.01)
    decays = jax.tree.map_with_path(lambda path, _: path[-1].key == "kernel", PARAMS)
    tx = optax.lamb(0.1, weight_decay=0.01, mask=decays)
    state = tx.init(PARAMS)
    for _ in range(3):
        expected, state = tx.update(GRADIENT, state, PARAMS)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, expected
    )


def test_the_state_of_adam_is_that_of_before():
    """Checkpoints of every age hold it: a step more in the chain and none would fit."""
    config = configurations.tiny()
    tx = optimizer.create_optimizer(
        config, optax.constant_schedule(0.1), steps_per_epoch=1
    )
    kinds = [type(part).__name__ for part in tx.init(PARAMS)]
    assert kinds == ["ScaleByAdamState", "ScaleByScheduleState"]


def test_rates_by_name():
    """Factors of several patterns multiply; what matches none keeps its rate."""
    factors = ("^backbone/=0.5", "conv0=0.1", "bias$=0")
    found = updates(optimizer__name="sgd", optimizer__learning_rate_factors=factors)
    kernel = -0.1 * 0.05 * GRADIENT["backbone"]["conv0"]["kernel"]
    np.testing.assert_allclose(found["backbone"]["conv0"]["kernel"], kernel, rtol=1e-6)
    np.testing.assert_allclose(found["head"]["kernel"], [0.1])
    np.testing.assert_array_equal(found["head"]["bias"], [0.0])


@pytest.mark.parametrize("text", ["backbone", "=0.5", "a=b", "a=-1", "(=0.5", "a=nan"])
def test_a_factor_that_is_none_is_refused(text: str):
    with pytest.raises(ValueError, match="expected PATTERN=FACTOR"):
        updates(optimizer__learning_rate_factors=(text,))
