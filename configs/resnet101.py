"""The paper's other baseline: vanilla ResNet-101, average pooling and a linear layer.

./launch.sh configs/resnet101.py --config.data_dir=DIR
"""

import ml_collections

from configs import paper


def get_config() -> ml_collections.ConfigDict:
    """Returns the paper's config with another backbone and head."""
    config = paper.get_config()
    config.model.backbone = "resnet101"
    config.model.head = "linear"
    config.model.pooling = "average"
    return config
