"""The axes of the devices, and how the arrays of a head lie along them.

Devices are a grid: images are split over all of them, labels over those of a row
(`config.label_shards`). Layouts are followed by programs that are traced within
`jax.sharding.use_abstract_mesh`; in others nothing is split and they say nothing.
"""

import jax
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float

DATA_AXIS = "data"
LABEL_AXIS = "label"


def lay_out(x: Float[Array, "..."], *axes: str | None) -> Float[Array, "..."]:
    """Returns x with its first dimensions split over these axes, None being whole.

    The gradient of x is laid out alike. A dimension need not divide evenly.
    """
    if jax.sharding.get_abstract_mesh().empty:
        return x
    return jax.lax.with_sharding_constraint(x, PartitionSpec(*axes))
