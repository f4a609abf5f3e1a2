"""The device that we compute on in a benchmark."""

import jax
from jax.sharding import Mesh

from mlgcn_jax.runs import mesh as meshes


def create_mesh() -> Mesh:
    """Returns a mesh of one device, however many there are: PyTorch has one too."""
    return meshes.arrange(jax.devices()[:1], label_shards=1)
