"""Losses, their cases and a batch for tests."""

import jax
import jax.numpy as jnp
import numpy as np

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
