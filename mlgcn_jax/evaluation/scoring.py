"""Images -> scores, with the classifiers computed once for all of them."""

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Float32, UInt8

from mlgcn_jax.graph import label_graph
from mlgcn_jax.models import heads
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import train_state


class Scorer:
    """Compiled inference for one model structure.

    Make it once, `load` variables whenever they have changed, then call it.
    """

    def __init__(self, graphdef: nnx.GraphDef, mesh: Mesh):
        """Prepares the two functions; they are compiled at their first call."""
        self._mesh = mesh
        replicated = meshes.replicated(mesh)

        def classify(variables, graph):
            return nnx.merge(graphdef, *variables).classifiers(graph)

        def score(variables, classifiers, image):
            features = nnx.merge(graphdef, *variables).features(image, train=False)
            return jax.nn.sigmoid(classifiers.logits(features))

        self._classify = jax.jit(classify, out_shardings=replicated)
        self._score = jax.jit(score, out_shardings=meshes.batch_sharded(mesh))
        self._variables: train_state.Variables | None = None
        self._classifiers: heads.Classifiers | None = None

    def load(
        self, variables: train_state.Variables, graph: label_graph.LabelGraph
    ) -> None:
        """Takes the variables to score with, and computes W from the label graph."""
        self._variables = variables
        self._classifiers = self._classify(variables, graph)

    def __call__(
        self, image: UInt8[np.ndarray, "b h w 3"]
    ) -> Float32[np.ndarray, "b l"]:
        """Returns sigmoid scores; b must be a multiple of the number of devices.

        Raises:
            ValueError: a score is not finite.
        """
        image = jax.device_put(image, meshes.batch_sharded(self._mesh))
        scores = self._score(self._variables, self._classifiers, image)
        scores = jax.device_get(scores)
        if not np.isfinite(scores).all():
            raise ValueError(
                f"{np.count_nonzero(~np.isfinite(scores))} of {scores.size} scores are "
                "not finite: the model has diverged; train it again with a lower "
                "config.optimizer.learning_rate"
            )
        return scores
