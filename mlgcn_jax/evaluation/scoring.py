"""Images -> scores: the model folded once, then programs for a few batch sizes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Float32, UInt8

from mlgcn_jax.devices import compiler
from mlgcn_jax.graph import label_graph
from mlgcn_jax.models import inference
from mlgcn_jax.runs import jax_settings, train_state, trained_model
from mlgcn_jax.runs import mesh as meshes


class Scorer:
    """Compiled inference for one model structure, image size and largest batch.

    Make it once, `load` variables whenever they have changed, then call it with what
    images there are. A few images do not pay for a large batch: there is a program for
    each power of two of images a device, up to `batch_size`, and a call takes the
    smallest that will do. Programs are compiled when they are first needed, or ahead
    of that by `compile`; other variables need no other programs.

    Attributes:
        batch_size: the most images in a call.
    """

    def __init__(
        self, graphdef: nnx.GraphDef, mesh: Mesh, *, image_size: int, batch_size: int
    ):
        """Prepares the functions.

        Args:
            graphdef: the model's structure.
            mesh: the devices that share a batch.
            image_size: side of the images in pixels.
            batch_size: the most images in a call, a multiple of the devices.

        Raises:
            ValueError: `batch_size` is not a multiple of the devices.
        """
        meshes.check_batch_size(batch_size, mesh.size)
        self._mesh = mesh
        self._image_size = image_size
        self.batch_size = batch_size

        def fold(variables, graph):
            with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
                return inference.fold(nnx.merge(graphdef, *variables), graph)

        replicated, sharded = meshes.replicated(mesh), meshes.batch_sharded(mesh)
        # Every device has images of its own: nothing passes between them, but for
        # features and scores among those that share the labels.
        features_of = jax.shard_map(
            lambda features, image: features(image),
            mesh=mesh,
            in_specs=(replicated.spec, sharded.spec),
            out_specs=sharded.spec,
            # Checked, no loop may start from zeros, as those of others do.
            check_vma=False,
        )

        def score(folded, image):
            features = features_of(folded.features, image)
            with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
                return folded.scores(features)

        # The scorer comes out as the head lays it out.
        shardings: Any = {"features": replicated, "scorer": None}
        self._fold = compiler.jit(
            fold, out_shardings=inference.FoldedModel(**shardings)
        )
        self._score = compiler.jit(
            score, on_cpu=inference.ON_CPU, out_shardings=sharded
        )
        self._folded: inference.FoldedModel | None = None
        self._programs: dict[int, jax.stages.Compiled] = {}

    @classmethod
    def of_run(
        cls, model: trained_model.TrainedModel, mesh: Mesh, *, batch_size: int
    ) -> "Scorer":
        """Returns one that has the variables of a trained run, at its image size.

        `batch_size` is rounded up to a multiple of the devices.
        """
        batch_size = meshes.round_up_batch_size(batch_size, mesh)
        size = model.config.image_size
        scorer = cls(model.graphdef, mesh, image_size=size, batch_size=batch_size)
        scorer.load(model.variables, model.graph)
        return scorer

    @jax_settings.usable()
    def load(
        self, variables: train_state.Variables, graph: label_graph.LabelGraph
    ) -> None:
        """Takes the variables to score with: folds norms and makes the scorer."""
        self._folded = self._fold(*meshes.take_home((variables, graph), self._mesh))

    @jax_settings.usable()
    def compile(self, num_images: int) -> None:
        """Makes the program that so many images will need, if it is not there yet.

        Raises:
            ValueError: they are more than `batch_size`.
        """
        self._program(self._size_of_batch(num_images))

    @jax_settings.usable()
    def __call__(
        self, image: UInt8[np.ndarray, "b h w 3"]
    ) -> Float32[np.ndarray, "b l"]:
        """Returns sigmoid scores; b is 1 to `batch_size`.

        Raises:
            ValueError: b is more than that. A score is not finite.
        """
        num_images = len(image)
        size = self._size_of_batch(num_images)
        if size > num_images:
            padding = np.zeros((size - num_images, *image.shape[1:]), image.dtype)
            image = np.concatenate([image, padding])
        placed = jax.device_put(image, meshes.batch_sharded(self._mesh))
        scores = jax.device_get(self._program(size)(self._folded, placed))[:num_images]
        if not np.isfinite(scores).all():
            raise ValueError(
                f"{np.count_nonzero(~np.isfinite(scores))} of {scores.size} scores are "
                "not finite: the model has diverged; train it again with a lower "
                "config.optimizer.learning_rate"
            )
        return scores

    def _size_of_batch(self, num_images: int) -> int:
        if not 1 <= num_images <= self.batch_size:
            raise ValueError(
                f"{num_images} images in a batch; give 1 to {self.batch_size}"
            )
        size = self._mesh.size
        while size < num_images:
            size *= 2
        return min(size, self.batch_size)

    def _program(self, size: int) -> jax.stages.Compiled:
        if size not in self._programs:
            image = jax.ShapeDtypeStruct(
                (size, self._image_size, self._image_size, 3),
                jnp.uint8,
                sharding=meshes.batch_sharded(self._mesh),
            )
            self._programs[size] = self._score.lower(self._folded, image).compile()
        return self._programs[size]
