"""A training step's parts in one program, computed twice: the same bits or not."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from mlgcn_jax.devices import compiler
from mlgcn_jax.doctor import findings
from mlgcn_jax.doctor.numbers import edges
from mlgcn_jax.graph import label_graph
from mlgcn_jax.models import forms, graph_convolution, layers
from mlgcn_jax.runs import mesh as meshes

PART = "bits"
NOT_THE_SAME = (
    "a run that is stopped and goes on differs in its last digits from one that is "
    "not; on GPUs XLA_FLAGS=--xla_gpu_deterministic_ops=true makes them the same"
)
_NUM_LABELS, _NUM_FEATURES = 40, 32


def check() -> Iterator[findings.Finding]:
    """Yields whether loss and gradients are the same bits twice, on all devices."""
    mesh = meshes.create_local_mesh()
    rng = np.random.default_rng(0)
    params = {
        "stem": rng.standard_normal((3, 3, 3, _NUM_FEATURES), np.float32),
        "kernel": rng.standard_normal((3, 3, _NUM_FEATURES, _NUM_FEATURES), np.float32),
        "nodes": rng.standard_normal((_NUM_LABELS, _NUM_FEATURES), np.float32),
    }
    images = 4 * mesh.size
    image = rng.standard_normal((images, 32, 32, 3), np.float32)
    labels = (rng.random((images, _NUM_LABELS)) < 0.1).astype(np.float32)
    split, whole = meshes.batch_sharded(mesh), meshes.replicated(mesh)
    arguments = jax.device_put(
        (params, image, labels, edges.make_graph(_NUM_LABELS)),
        (whole, split, split, whole),
    )
    program = compiler.jit(jax.value_and_grad(_loss), out_shardings=whole)
    first, second = (jax.device_get(program(*arguments)) for _ in range(2))
    yield same_bits("the same step twice", first, second)


def same_bits(name: str, first: Any, second: Any) -> findings.Finding:
    """Returns whether two results are the same, bit for bit."""
    pairs = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    are_same = all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)
    return findings.Finding(
        PART,
        name,
        "the same bits" if are_same else "other bits",
        expected="the same bits",
        status="ok" if are_same else "warning",
        advice="" if are_same else NOT_THE_SAME,
    )


def _loss(
    params: dict[str, Array],
    image: Float[Array, "b h w 3"],
    labels: Float[Array, "b l"],
    graph: label_graph.LabelGraph,
) -> Float[Array, ""]:
    """A stem, a convolution, pooling and a graph convolution."""
    form = forms.here()
    x = _normalised(layers.convolve(image, params["stem"], form=form))
    x = layers.max_pool_3x3_stride_2(x, form=form)
    x = jnp.max(_normalised(layers.convolve(x, params["kernel"], form=form)), (1, 2))
    classifiers = graph_convolution.aggregate(params["nodes"], graph)
    logits = jnp.einsum("bd,ld->bl", x, classifiers)
    return optax.sigmoid_binary_cross_entropy(logits, labels).mean()


def _normalised(x: Float[Array, "b h w d"]) -> Float[Array, "b h w d"]:
    found = layers.batch_statistics(x)
    one = jnp.ones(_NUM_FEATURES, jnp.float32)
    scale, offset = layers.scale_and_offset(one, 0 * one, found)
    return jax.nn.relu(x * scale[None, None, None, :] + offset[None, None, None, :])
