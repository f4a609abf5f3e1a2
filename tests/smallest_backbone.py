"""A DenseNet of 1,000 parameters: runs with it are small enough to keep.

Also `mlgcn` that knows it, of whichever commit is on the path:

PYTHONPATH=COMMIT:tests python -m smallest_backbone STAGE ...
"""

import sys

from mlgcn_jax import cli
from mlgcn_jax.models import densenet, registry

NAME = "densenet_smallest"


def create(*, dtype, rngs, remat: bool = False) -> densenet.DenseNet:
    """It has each kind of layer that DenseNet-121 has."""
    return densenet.DenseNet(
        growth_rate=2,
        block_sizes=(1, 1),
        num_init_features=4,
        remat=remat,
        dtype=dtype,
        rngs=rngs,
    )


if __name__ == "__main__":
    registry.BACKBONES[NAME] = create
    sys.exit(cli.main())
