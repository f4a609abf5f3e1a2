"""The paper's settings to the letter: DenseNet-121 + GCN, 512x512, 30 epochs.

    mlgcn build CRAWL --top=40 --data_dir=DIR
    ./launch.sh configs/paper.py --config.data_dir=DIR

The paper does not say its batch size.
"""

import ml_collections

from configs import default


def get_config() -> ml_collections.ConfigDict:
    """Returns the config; the defaults are the paper's, named here to stay so."""
    config = default.get_config()
    config.image_size = 512
    config.num_epochs = 30
    config.batch_size = 32
    config.flip = True
    config.model.backbone = "densenet121"
    config.model.head = "gcn"
    config.model.pooling = "max"
    config.graph.gamma = 0.002
    config.graph.p = 0.2
    config.graph.variant = "paper"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.schedule = "constant"
    config.optimizer.clip_norm = 0.0
    config.optimizer.weight_decay = 0.0
    config.optimizer.ema_decay = 0.0
    return config
