r"""ResNet-18 of the package flaxmodels, which knows nothing of us, with our GCN head.

    pip install flaxmodels
    mlgcn train --config=examples/third_party_backbone.py --config.data_dir=DIR \
        --workdir=RUN

Any module of Flax NNX or Linen goes the same way: its constructor is given what it
takes of `rngs`, `dtype` and `image_size`, and the options below; called on images it
returns a feature map, tokens, or as here a vector for each image. The run trains it
from scratch, goes on bit for bit, evaluates and predicts like one of ours.
"""

import ml_collections

from configs import default


def get_config() -> ml_collections.ConfigDict:
    """Returns the config."""
    config = default.get_config()
    config.model.backbone = "flaxmodels:ResNet18"
    options = config.model.backbone_options
    options.pretrained = None  # a path of theirs, or None
    options.normalize = False  # images come normalised
    options.output = "logits"  # of as many classes as we want features
    options.num_classes = 256
    return config
