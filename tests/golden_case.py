"""One model with given weights, batch and label graph, for PyTorch and for us.

Everything is drawn from NumPy's legacy generator, whose stream is frozen (NEP 19), so
that the goldens need no weights beside them.
"""

import zlib
from collections.abc import Mapping

import configurations
import ml_collections
import numpy as np

from mlgcn_jax.benchmarks import cases
from mlgcn_jax.graph import label_graph

NUM_LABELS = 40
LEARNING_RATE = 1e-3
NUM_STEPS = 5


def make_config(backbone: str = "densenet_tiny") -> ml_collections.ConfigDict:
    """No flips: both sides see the same pixels."""
    return configurations.tiny(
        model__backbone=backbone,
        flip=False,
        optimizer__learning_rate=LEARNING_RATE,
    )


def make_graph(config: ml_collections.ConfigDict) -> label_graph.LabelGraph:
    return cases.make_graph(NUM_LABELS, embedding_dim=config.graph.embedding_dim)


def make_weights(
    shapes: Mapping[str, tuple[int, ...]], *, offset: float = 0.0
) -> dict[str, np.ndarray]:
    """PyTorch's name -> tensor: He normal kernels, norms away from 1 and 0.

    With an offset of 1 the norms feed ReLU 1 +- 0.2: next to no input of it is near
    zero, where rounding decides whether the gradient passes.
    """
    return {name: _make_weight(name, shape, offset) for name, shape in shapes.items()}


def _make_weight(name: str, shape: tuple[int, ...], offset: float) -> np.ndarray:
    rng = np.random.RandomState(zlib.crc32(name.encode()))
    noise = rng.standard_normal(shape)
    if name.startswith("gc"):  # [in, out]
        noise *= (1 / shape[0]) ** 0.5
    elif len(shape) > 1:  # [out, in, h, w]
        noise *= (2 / np.prod(shape[1:])) ** 0.5
    elif name.endswith("running_var"):
        noise = 1 + 0.5 * np.tanh(noise)
    elif name.endswith("weight"):
        noise = (0.2 if offset else 1.0) * (1 + 0.2 * noise)
    elif name.endswith("bias"):
        noise = offset + (0.05 if offset else 0.2) * noise
    else:
        noise *= 0.2
    return noise.astype(np.float32)


def make_batch(size: int, side_px: int) -> cases.Batch:
    rng = np.random.RandomState(0)
    image = rng.randint(0, 256, (size, side_px // 8, side_px // 8, 3))
    image = image.repeat(8, axis=1).repeat(8, axis=2)  # some structure
    image = (image + rng.randint(-20, 21, image.shape)).clip(0, 255).astype(np.uint8)
    labels = (rng.random_sample((size, NUM_LABELS)) < 0.1).astype(np.float32)
    return cases.Batch(image, labels)


def make_golden_batch() -> cases.Batch:
    return make_batch(2, 32)


def digest(tensors: Mapping[str, np.ndarray]) -> np.ndarray:
    """Norm and a random projection of each tensor, by name: [tensors, 2]."""
    return np.asarray([_digest(name, tensors[name]) for name in sorted(tensors)])


def _digest(name: str, tensor: np.ndarray) -> tuple[float, float]:
    rng = np.random.RandomState(zlib.crc32(f"digest {name}".encode()))
    direction = rng.standard_normal(tensor.shape)
    return float(np.linalg.norm(tensor)), float(np.sum(direction * tensor))
