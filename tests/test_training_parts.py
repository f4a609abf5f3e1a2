"""Optimiser, train step: each against arithmetic or an oracle."""

import configurations
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mlgcn_jax.graph import label_graph
from mlgcn_jax.learning import optimizer
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.training import program

NUM_LABELS = 6


def test_schedule_warms_up_and_falls_to_zero():
    config = configurations.tiny(
        optimizer__schedule="warmup_cosine",
        optimizer__warmup_epochs=2.0,
        optimizer__learning_rate=0.5,
    )
    schedule = optimizer.create_schedule(config, steps_per_epoch=10, num_steps=120)
    rates = [float(schedule(step)) for step in (0, 10, 20, 70, 120)]
    np.testing.assert_allclose(rates, [0, 0.25, 0.5, 0.25, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"optimizer__schedule": "linear"}, "'linear' is not known"),
        (
            {"optimizer__schedule": "warmup_cosine", "optimizer__warmup_epochs": 9.0},
            "fills the whole run of 20 steps",
        ),
    ],
)
def test_bad_schedules_are_errors(overrides, message):
    with pytest.raises(ValueError, match=message):
        optimizer.create_schedule(
            configurations.tiny(**overrides), steps_per_epoch=10, num_steps=20
        )


PARAMS = {
    "backbone": {
        "conv": {"kernel": jnp.full((2, 2), 2.0)},
        "norm": {"scale": jnp.full(2, 2.0), "bias": jnp.full(2, 2.0)},
    },
    "head": {"embeddings": jnp.full((2, 2), 2.0), "gc1": {"kernel": jnp.full(2, 2.0)}},
}


def first_updates(gradient: float = 0.0, **overrides):
    """Updates of the first step, all gradients alike."""
    config = configurations.tiny(**overrides)
    tx = optimizer.create_optimizer(
        config, optax.constant_schedule(0.1), steps_per_epoch=1
    )
    grads = jax.tree.map(lambda p: jnp.full_like(p, gradient), PARAMS)
    updates, _ = tx.update(grads, tx.init(PARAMS), PARAMS)
    return {
        "/".join(k.key for k in path): float(np.ravel(leaf)[0])
        for path, leaf in jax.tree_util.tree_leaves_with_path(updates)
    }


def test_weight_decay_reaches_kernels_alone():
    updates = first_updates(0.0, optimizer__weight_decay=0.5)
    assert updates == pytest.approx(
        {
            "backbone/conv/kernel": -0.1 * 0.5 * 2,
            "backbone/norm/scale": 0.0,
            "backbone/norm/bias": 0.0,
            "head/embeddings": 0.0,
            "head/gc1/kernel": -0.1 * 0.5 * 2,
        }
    )


def test_backbone_and_head_learn_at_their_own_rates():
    updates = first_updates(
        3.0,
        optimizer__backbone_learning_rate_factor=0.1,
        optimizer__head_learning_rate_factor=2.0,
    )
    # Adam's first step is the rate whatever the size of the gradient.
    for name, update in updates.items():
        expected = -0.01 if name.startswith("backbone") else -0.2
        assert update == pytest.approx(expected, rel=1e-4), name


def test_a_frozen_backbone_thaws_as_if_it_had_never_been_frozen():
    config = configurations.tiny(
        optimizer__frozen_backbone_epochs=1.5, optimizer__weight_decay=0.5
    )
    tx = optimizer.create_optimizer(
        config, optax.constant_schedule(0.1), steps_per_epoch=2
    )
    config.optimizer.frozen_backbone_epochs = 0.0
    free = optimizer.create_optimizer(
        config, optax.constant_schedule(0.1), steps_per_epoch=2
    )
    state, free_state = tx.init(PARAMS), free.init(PARAMS)
    for step in range(5):
        grads = jax.tree.map(lambda p, step=step: p * (1.0 - step), PARAMS)
        updates, state = tx.update(grads, state, PARAMS)
        expected, free_state = free.update(grads, free_state, PARAMS)
        if step < 3:
            expected["backbone"] = jax.tree.map(jnp.zeros_like, expected["backbone"])
        jax.tree.map(np.testing.assert_array_equal, updates, expected)


def test_clipping_bounds_the_global_norm():
    config = configurations.tiny(optimizer__clip_norm=1.0)
    tx = optimizer.create_optimizer(
        config, optax.constant_schedule(0.1), steps_per_epoch=1
    )
    grads = jax.tree.map(lambda p: jnp.full_like(p, 100.0), PARAMS)
    _, state = tx.update(grads, tx.init(PARAMS), PARAMS)
    adam = next(s for s in state if isinstance(s, optax.ScaleByAdamState))
    assert float(optax.tree.norm(adam.mu)) == pytest.approx(0.1, rel=1e-4)


def graph() -> label_graph.LabelGraph:
    rng = np.random.default_rng(0)
    return label_graph.LabelGraph(
        senders=np.asarray([0, 1, 0, 2, 3, 4, 5], np.int32),
        receivers=np.asarray([0, 0, 1, 2, 3, 4, 5], np.int32),
        edge_weights=np.asarray([0.8, 0.2, 0.2, 1, 1, 1, 1], np.float32),
        embeddings=rng.normal(size=(NUM_LABELS, 5)).astype(np.float32),
    )


def batch(seed: int = 0, size: int = 8):
    rng = np.random.default_rng(seed)
    return {
        "image": rng.integers(0, 256, (size, 32, 32, 3)).astype(np.uint8),
        "labels": (rng.random((size, NUM_LABELS)) < 0.4).astype(np.float32),
        "size": np.full((size, 2), 32, np.int32),
    }


def run_steps(config, mesh, num_steps: int):
    """Trains on one batch; returns the state and the metrics of every step."""
    made = program.create_program(config, mesh, num_labels=NUM_LABELS, num_steps=100)
    state = made.create_state()
    history = []
    on_device = made.place_graph(graph())
    for _ in range(num_steps):
        sharded = jax.device_put(batch(), meshes.batch_sharded(mesh))
        state, step_metrics = made.step(state, sharded, on_device)
        history.append(jax.device_get(step_metrics))
    return state, history


def one_device_mesh():
    return meshes.arrange(jax.devices()[:1], label_shards=1)


def test_the_step_learns_one_batch():
    config = configurations.tiny(flip=False, optimizer__learning_rate=1e-2)
    _, history = run_steps(config, one_device_mesh(), 30)
    losses_seen = [m["loss"] for m in history]
    assert losses_seen[0] > 0.5
    assert losses_seen[-1] < 0.2 * losses_seen[0]
    assert history[0]["learning_rate"] == pytest.approx(1e-2)


def test_eight_devices_give_the_result_of_one():
    config = configurations.tiny()
    one, history_one = run_steps(config, one_device_mesh(), 3)
    many, history_many = run_steps(config, meshes.create_mesh(), 3)
    assert meshes.create_mesh().size == 8
    for a, b in zip(history_one, history_many, strict=True):
        np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-4)
    # Statistics are of the whole batch, not of a device's one image.
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
        jax.device_get(one.variables.batch_stats),
        jax.device_get(many.variables.batch_stats),
    )


def test_moving_average_by_hand():
    config = configurations.tiny(optimizer__ema_decay=0.9)
    mesh = one_device_mesh()
    before, _ = run_steps(config, mesh, 0)
    first = jax.device_get(before.variables.params["head"]["gc1"]["kernel"])
    after, _ = run_steps(config, mesh, 1)
    second = jax.device_get(after.variables.params["head"]["gc1"]["kernel"])
    # At step 0 the decay is (1 + 0) / (10 + 0), smaller than 0.9.
    expected = 0.1 * first + 0.9 * second
    np.testing.assert_allclose(
        jax.device_get(after.ema.params["head"]["gc1"]["kernel"]), expected, rtol=1e-5
    )
    # At step 1 it is 2 / 11, at step 80 and later the 0.9 of the config.
    after, _ = run_steps(config, mesh, 2)
    third = jax.device_get(after.variables.params["head"]["gc1"]["kernel"])
    expected = 2 / 11 * expected + 9 / 11 * third
    np.testing.assert_allclose(
        jax.device_get(after.ema.params["head"]["gc1"]["kernel"]), expected, rtol=1e-5
    )


def test_a_batch_that_devices_cannot_share_is_an_error():
    with pytest.raises(ValueError, match="batch_size=12 is not divisible by 8 devices"):
        meshes.check_batch_size(12, 8)
    assert meshes.round_up_batch_size(12, meshes.create_mesh()) == 16
