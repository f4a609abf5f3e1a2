"""Every key of a config at its default; the other configs start from this one.

docs/config.md lists the keys with their meaning and range, of which
mlgcn_jax/schema/keys.py and the code of heads, losses, optimisers and augmentations
have a row each. Not run by itself: DenseNet-121 + GCN on your own data, see the README:

    ./launch.sh configs/default.py --config.data_dir=DIR --workdir=RUN
"""

import ml_collections

from mlgcn_jax.schema import configs


def get_config() -> ml_collections.ConfigDict:
    """Returns the default config."""
    return configs.default()
