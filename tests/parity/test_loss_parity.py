"""Losses beside those of PyTorch and torchvision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torchvision

from mlgcn_jax.learning.losses import registry

COUNTS = np.array([5, 20, 50, 90])
NUM_EXAMPLES = 100


def theirs(name, logits, labels):
    if name == "focal":
        return torchvision.ops.sigmoid_focal_loss(logits, labels, alpha=-1, gamma=2)
    counts = torch.from_numpy(COUNTS)
    return torch.nn.functional.binary_cross_entropy_with_logits(
        logits,
        labels,
        reduction="none",
        pos_weight=(NUM_EXAMPLES - counts) / counts if name == "weighted" else None,
    )


@pytest.mark.parametrize("name", ["sigmoid_cross_entropy", "focal", "weighted"])
def test_values_and_gradients_are_those_of_pytorch(name):
    rng = np.random.default_rng(0)
    logits = 4 * rng.normal(size=(16, 4))
    labels = (rng.random((16, 4)) < 0.3).astype(np.float64)
    tensor = torch.from_numpy(logits).requires_grad_()
    expected = theirs(name, tensor, torch.from_numpy(labels)).mean(dim=1)
    (expected_gradient,) = torch.autograd.grad(expected.sum(), tensor)

    loss = registry.create(name, {}, counts=COUNTS, num_examples=NUM_EXAMPLES)
    x, y = jnp.asarray(logits, jnp.float32), jnp.asarray(labels, jnp.float32)
    found = loss(x, y, None, 0.0)
    np.testing.assert_allclose(found, expected.detach(), rtol=1e-5)
    found = jax.grad(lambda x: loss(x, y, None, 0.0).sum())(x)
    np.testing.assert_allclose(found, expected_gradient, rtol=1e-4, atol=1e-7)
