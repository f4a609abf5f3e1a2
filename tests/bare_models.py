"""A backbone and a linear head by themselves, for what a config does not reach."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mlgcn_jax.models import construction, registry, torch_weights
from mlgcn_jax.models.heads import linear


class BareModel(nnx.Module):
    def __init__(self, backbone, head):
        self.backbone = backbone
        self.head = head


class Case(NamedTuple):
    """A model's structure, and arrays of its variables."""

    structure: BareModel
    params: dict[str, Any]
    batch_stats: dict[str, Any]

    def to_torch(self) -> dict[str, np.ndarray]:
        return torch_weights.to_torch(
            self.params, self.batch_stats, model=self.structure
        )

    def from_torch(self, tensors):
        """The same with PyTorch's tensors, and what became of them."""
        params, batch_stats, report = torch_weights.from_torch(
            tensors, self.params, self.batch_stats, model=self.structure
        )
        return self._replace(params=params, batch_stats=batch_stats), report

    @property
    def model(self) -> BareModel:
        graphdef = nnx.graphdef(self.structure)
        return nnx.merge(graphdef, self.params, self.batch_stats)


def make_case(
    backbone: str, *, num_labels: int = 10, fill=None, image_size: int = 224, **options
) -> Case:
    """Normal values, or `fill(shape)`."""

    def create() -> BareModel:
        rngs = nnx.Rngs(0)
        supplied = {"dtype": jnp.float32, "image_size": image_size, "rngs": rngs}
        features = construction.call_with(
            registry.BACKBONES[backbone], supplied, options, backbone
        )
        head = linear.LinearHead(
            num_labels, features.num_features, pooling="average", rngs=rngs
        )
        return BareModel(features, head)

    structure = nnx.eval_shape(create)
    rng = np.random.default_rng(0)
    fill = fill or (lambda shape: rng.normal(size=shape))

    def arrays(kind) -> dict[str, Any]:
        tree = nnx.to_pure_dict(nnx.state(structure, kind))
        return jax.tree.map(lambda x: np.asarray(fill(x.shape), np.float32), tree)

    return Case(structure, arrays(nnx.Param), arrays(nnx.BatchStat))
