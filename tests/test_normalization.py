"""Pixels as a backbone expects them, in training, inference and runs of their own."""

import configurations
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from train_steps import Case

from mlgcn_jax.models import inference, normalization
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import train_state


def test_by_hand():
    """Red 255 and blue 51 are 1 and 0.2: (1 - 0.5) / 0.25 and (0.2 - 0.1) / 0.5."""
    image = jnp.array([255, 0, 51], jnp.uint8).reshape(1, 1, 1, 3)
    normalize = normalization.Normalization((0.5, 0.0, 0.1), (0.25, 1.0, 0.5))
    np.testing.assert_allclose(normalize(image).ravel(), [2.0, 0.0, 0.2], rtol=1e-6)
    # Blue comes first, and has the first mean.
    bgr = normalize._replace(colour_order="bgr")(image)
    np.testing.assert_allclose(bgr.ravel(), [-1.2, 0.0, 1.8], rtol=1e-6)


def test_a_run_of_bgr_sees_bgr_where_it_trains_and_where_it_infers():
    mesh = meshes.arrange(jax.devices()[:1], label_shards=1)
    losses, scores = [], []
    for order in ("rgb", "bgr"):
        config = configurations.tiny(flip=False, model__colour_order=order)
        case = Case(config, mesh, num_labels=3)
        made, batch = case.program(), case.batch()
        if order == "bgr":
            batch["image"] = np.ascontiguousarray(batch["image"][..., ::-1])
        # Statistics of ImageNet differ by channel: taken out here.
        config.model.pixel_mean, config.model.pixel_std = (0.5,) * 3, (0.25,) * 3
        made = case.program()
        graph = case.graph_on_devices()
        state = made.create_state()
        variables = jax.tree.map(lambda x: x + 0, state.variables)
        _, metrics = made.step(state, batch, graph)
        losses.append(float(metrics["loss"]))
        graphdef, _ = train_state.model_structure(config, num_labels=3)
        folded = inference.fold(nnx.merge(graphdef, *variables), graph)
        score = jax.jit(lambda folded, image: folded(image))
        scores.append(score(folded, batch["image"]))
    assert losses[0] == losses[1]
    np.testing.assert_array_equal(*scores)
