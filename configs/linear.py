"""The paper's baseline: vanilla DenseNet-121, average pooling and a linear layer.

./launch.sh configs/linear.py --config.data_dir=DIR
"""

import ml_collections

from configs import paper


def get_config() -> ml_collections.ConfigDict:
    """Returns the paper's config with another head."""
    config = paper.get_config()
    config.model.head = "linear"
    config.model.pooling = "average"
    return config
