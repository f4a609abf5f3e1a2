"""Gradients in micro-batches: the same as in one go, and images stay where they are."""

import re

import configurations
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from train_steps import Case

from mlgcn_jax.learning.losses import cross_entropy
from mlgcn_jax.models import contract, layers, registry
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import train_state
from mlgcn_jax.training import gradients

MOVES = r"(all-to-all|collective-permute|all-gather)(?:-start)?\("


class WithoutNorm(nnx.Module):
    """A backbone in which no image sees another."""

    num_features = 16
    min_image_size_px = 8

    tap_names = ()
    norm_after_pooling = None

    def __init__(self, *, dtype, rngs):
        self.conv = layers.Convolution(3, 16, 3, stride=4, dtype=dtype, rngs=rngs)

    def __call__(self, image, *, train, key=None):
        del train, key
        return contract.ImageFeatures(jax.nn.relu(self.conv(image)), {})


def make_case(accumulation_steps: int, *, num_devices: int = 8, **more) -> Case:
    config = configurations.tiny(
        accumulation_steps=accumulation_steps,
        batch_size=32,
        optimizer__learning_rate=3e-4,
        **more,
    )
    mesh = meshes.arrange(jax.devices()[:num_devices], label_shards=1)
    return Case(config, mesh, num_labels=6)


def test_the_update_is_that_of_the_whole_batch(monkeypatch):
    """Flips are those of the whole batch too."""
    monkeypatch.setitem(registry.BACKBONES, "without_norm", WithoutNorm)
    backbone = {"model__backbone": "without_norm"}
    whole, history = make_case(1, **backbone).train(3)
    for accumulation_steps in (2, 4):
        parts, parts_history = make_case(accumulation_steps, **backbone).train(3)
        for found, expected in zip(parts_history, history, strict=True):
            assert found.keys() == expected.keys()
            for name in expected:
                np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)
        # Each parameter moved by about 3 x 3e-4.
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-6),
            jax.device_get(parts.variables.params),
            jax.device_get(whole.variables.params),
        )


def test_batch_norm_sees_each_micro_batch_after_the_other():
    """The oracle: one micro-batch by hand after the other, and the mean of both."""
    case = make_case(2, num_devices=1)
    state, _ = case.train(0)
    graphdef = case.program().graphdef

    def gradient_of(accumulation_steps: int):
        return jax.jit(
            gradients.create_loss_and_gradient(
                graphdef,
                cross_entropy.create(label_smoothing=0.0),
                case.mesh,
                accumulation_steps=accumulation_steps,
            )
        )

    batch, graph = case.batch(), case.graph()
    key = jax.random.key(0)  # of a model that has nothing random in it
    in_parts = gradient_of(2)(state.variables, batch, graph, key, 0.0)

    in_one_go = gradient_of(1)
    variables = state.variables
    parts = []
    for i in range(2):
        part = {name: value[i::2] for name, value in batch.items()}
        loss, batch_stats, grads = in_one_go(variables, part, graph, key, 0.0)
        variables = train_state.Variables(variables.params, batch_stats)
        parts.append((loss, grads))
    mean = jax.tree.map(lambda a, b: (a + b) / 2, *parts)
    loss, batch_stats, grads = in_parts
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        (loss, batch_stats, grads),
        (mean[0], variables.batch_stats, mean[1]),
    )


def test_which_examples_meet_does_not_depend_on_the_devices():
    """With batch norm other company would give another loss."""
    found = [
        [m["loss"] for m in make_case(4, num_devices=n).train(3)[1]] for n in (1, 8)
    ]
    np.testing.assert_allclose(*found, rtol=1e-5)


def test_micro_batches_by_hand():
    mesh = meshes.create_mesh()
    sharding = meshes.batch_sharded(mesh)
    split = jax.jit(
        lambda x: gradients.split({"x": x}, mesh, accumulation_steps=2)["x"],
        in_shardings=sharding,
    )
    x = jax.device_put(jnp.arange(32)[:, None], sharding)
    found = split(x)
    assert found[:, :, 0].tolist() == [list(range(0, 32, 2)), list(range(1, 32, 2))]
    # The first device has 0 to 3 of the batch.
    first = next(s for s in found.addressable_shards if s.device == jax.devices()[0])
    assert first.data[:, :, 0].tolist() == [[0, 2], [1, 3]]
    assert not re.findall(MOVES, split.lower(x).compile().as_text())


def test_a_step_in_micro_batches_moves_no_image_and_takes_less_memory():
    whole, parts = (make_case(k).compile() for k in (1, 4))
    hlo = parts.as_text()
    assert " while(" in hlo and "all-reduce" in hlo
    assert not re.findall(MOVES, hlo)
    memory, less = (c.memory_analysis().temp_size_in_bytes for c in (whole, parts))
    assert less < 0.6 * memory


def test_a_batch_that_micro_batches_cannot_share_is_an_error():
    mesh = meshes.create_mesh()
    message = "batch_size=24 is not divisible by 8 devices x 2 micro-batches; use a "
    with pytest.raises(ValueError, match=message + "multiple of 16"):
        meshes.check_batch_size(24, mesh.size, accumulation_steps=2)
    meshes.check_batch_size(48, mesh.size, accumulation_steps=2)
