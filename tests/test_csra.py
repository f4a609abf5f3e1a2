"""Class-specific residual attention: between average and max pooling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import PartitionSpec

from mlgcn_jax.benchmarks import cases
from mlgcn_jax.models import contract
from mlgcn_jax.models.heads import classifiers, csra
from mlgcn_jax.runs import mesh as meshes

GRAPH = cases.make_graph(5, embedding_dim=2)  # which plays no part


def logits_of(scorer, feature_map):
    features = contract.ImageFeatures(jnp.asarray(feature_map), {})
    return scorer(features, contract.Context()).logits


@pytest.mark.parametrize(
    ("num_heads", "expected"), [(1, 1.146212), (2, 1.146212 + 1.2)]
)
def test_by_hand(num_heads: int, expected: float):
    """Scores 0, 1, 2, 1 at four places: their mean is 1, their maximum 2.

    Softmax (1, e, e^2, e) / 13.83 of these weighs them to 1.462117; a tenth of it is
    added to the mean. The second head's attention is the maximum: 1 + 0.2.
    """
    scorer = csra.Attention(jnp.ones((num_heads, 1, 1)), residual_weight=0.1)
    feature_map = jnp.array([0.0, 1.0, 2.0, 1.0]).reshape(1, 2, 2, 1)
    np.testing.assert_allclose(logits_of(scorer, feature_map), [[expected]], rtol=1e-6)


def test_four_heads_by_hand():
    """The second temperature: softmax of 2 s, 1.176159 of the paper's example."""
    scorer = csra.Attention(jnp.ones((4, 1, 1)), residual_weight=0.1)
    s = np.array([0.0, 1.0, 2.0, 1.0])
    expected = 1.146212 + 1.176159 + 1.2
    weights = np.exp(4 * s) / np.exp(4 * s).sum()
    expected += 1 + 0.1 * (weights * s).sum()
    found = logits_of(scorer, s.reshape(1, 2, 2, 1).astype(np.float32))
    np.testing.assert_allclose(found, [[expected]], rtol=1e-6)


def make_head(num_heads: int = 2, num_labels: int = 5, weight: float = 0.3):
    return csra.CSRAHead(
        num_labels, 7, num_heads=num_heads, residual_weight=weight, rngs=nnx.Rngs(0)
    )


def feature_maps(b: int = 3):
    return np.random.default_rng(0).normal(size=(b, 4, 3, 7)).astype(np.float32)


def test_without_attention_it_is_a_linear_head_of_unit_weights():
    head = make_head(num_heads=1, weight=0.0)
    weights = np.asarray(head.kernel[...])[0]
    weights = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    linear = classifiers.Classifiers(jnp.asarray(weights), None, "average")
    np.testing.assert_allclose(
        logits_of(head(GRAPH), feature_maps()),
        logits_of(linear, feature_maps()),
        rtol=1e-4,
        atol=1e-6,
    )


def test_an_image_does_not_depend_on_its_company():
    scorer, maps = make_head()(GRAPH), feature_maps()
    np.testing.assert_allclose(
        logits_of(scorer, maps[:1]), logits_of(scorer, maps)[:1], rtol=1e-5
    )


def test_labels_may_come_in_any_order():
    head, order = make_head(), np.array([3, 0, 4, 1, 2])
    before = logits_of(head(GRAPH), feature_maps())
    head.kernel.set_value(head.kernel[...][:, order])
    after = logits_of(head(GRAPH), feature_maps())
    np.testing.assert_allclose(after, before[:, order], rtol=1e-6)


def test_a_kernel_of_zeros_gives_zero_and_finite_gradients():
    def total(kernels):
        head = make_head()
        head.kernel.set_value(kernels)
        return logits_of(head(GRAPH), feature_maps()).sum()

    kernels = make_head().kernel[...].at[:, 2].set(0.0)
    assert np.isfinite(total(kernels))
    assert np.isfinite(jax.grad(total)(kernels)).all()


def test_gradients_reach_every_kernel():
    def total(kernels):
        head = make_head(8)
        head.kernel.set_value(kernels)
        return jnp.square(logits_of(head(GRAPH), feature_maps())).sum()

    assert (jax.grad(total)(make_head(8).kernel[...]) != 0).all()


def test_labels_are_shared_by_devices():
    mesh = meshes.arrange(jax.devices()[:4], label_shards=2)
    head = make_head(num_labels=6)
    expected = logits_of(head(GRAPH), feature_maps(4))

    @jax.jit
    def score(maps):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return logits_of(head(GRAPH), maps)

    found = score(jax.device_put(feature_maps(4), meshes.batch_sharded(mesh)))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert found.sharding.spec == PartitionSpec("data", "label")
