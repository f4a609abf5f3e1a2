"""Every key of a config: one row says all that there is to say of it.

Options of a head, a loss, an optimiser or an augmentation stand beside its code and are
added here under its name, so that a new one needs no row.
"""

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

from mlgcn_jax.data import crops, letterboxes
from mlgcn_jax.data.options import Option
from mlgcn_jax.learning import optimizer
from mlgcn_jax.learning.augmentations import registry as augmentations
from mlgcn_jax.learning.losses import registry as losses
from mlgcn_jax.models import normalization
from mlgcn_jax.models import registry as models

_INT32 = 2**31 - 1  # what counts on a device has this type
_FLOAT32 = 3.4e38  # nearly the largest of the type that numbers have there
_LEAST_FLOAT32 = 2.0**-126  # less is 0 on a device
_ALL = object()  # of runs that have a key: every one ever written


class Key(NamedTuple):
    """One key.

    Attributes:
        option: default, meaning and range. A default {} is a section that the config
            of a run fills as it likes.
        may_change: it says how a run is carried out and not what it computes, so that
            a run goes on with another value.
        before: what runs did that were made before there was the key.
    """

    option: Option
    may_change: bool = False
    before: Any = _ALL

    @property
    def is_added(self) -> bool:
        """Whether there are runs without the key."""
        return self.before is not _ALL


def _added(options: Mapping[str, Option], section: str) -> dict[str, Key]:
    """Returns rows of options that runs lack if they were made before; they are off."""
    return {
        f"{section}.{name}": Key(option, before=option.default)
        for name, option in options.items()
    }


KEYS: dict[str, Key] = {
    "seed": Key(
        Option(0, "of initial parameters, order of examples, all drawn", 0, 2**32 - 1)
    ),
    "data_dir": Key(
        Option("", "folder of the dataset: what `mlgcn build --data_dir` wrote"),
        may_change=True,
    ),
    "dataset": Key(
        Option(
            "",
            "package.module:Class of a dataset of your own (mlgcn_jax/data/source.py), "
            "made with data_dir; empty: what `mlgcn build` wrote",
        ),
        may_change=True,
        before="",
    ),
    # `launch` and `compare` build it first, where data_dir holds nothing else; one that
    # is there must be this one, by its content.
    "build.source": Key(
        Option("", "crawl folder or archive, or `sample`; empty: it is built already"),
        may_change=True,
    ),
    "build.labels": Key(
        Option("", "vocabulary file or shipped name; empty: labels.csv of the source"),
        may_change=True,
    ),
    "build.top": Key(
        Option(0, "or: the labels with the most works; 0: not"), may_change=True
    ),
    "build.min_works": Key(
        Option(0, "or: the labels with at least so many works; 0: not"),
        may_change=True,
    ),
    "build.negatives": Key(
        Option("drop", "pictures with tags but none of the labels: drop or keep"),
        may_change=True,
        before="drop",
    ),
    "build.twins": Key(
        Option(
            "",
            "training pictures that are copies of validation pictures: drop or keep; "
            "empty: drop, and a dataset that is there already stays as it is",
        ),
        may_change=True,
        before="",
    ),
    "build.implications": Key(
        Option("", "file of labels that imply others, or shipped; empty: none"),
        may_change=True,
        before="",
    ),
    "build.max_side": Key(
        Option(512, "px; larger pictures are stored with this long side"),
        may_change=True,
        before=512,
    ),
    "initial_weights": Key(
        Option(
            "",
            "PyTorch's: .pth, .safetensors or .npz; empty: random. A run that goes on "
            "knows this file, and graph.embedding_file, by its content: it may lie "
            "elsewhere",
        ),
        before="",
    ),
    "num_epochs": Key(
        Option(
            30,
            "passes over the training split, which fill no whole number of batches: "
            "one may hold the end of a pass and the start of the next. 0: no training",
            0,
            _INT32,
        )
    ),
    "batch_size": Key(Option(32, "images a step over all devices", 1, _INT32)),
    "accumulation_steps": Key(
        Option(
            1,
            "micro-batches of a step, one after another: less memory. The gradient is "
            "that of the whole batch, but batch norm sees each by itself",
            1,
            _INT32,
        ),
        before=1,
    ),
    "remat": Key(
        Option(False, "compute layers again for the gradient: less memory, slower"),
        may_change=True,
        before=False,
    ),
    "label_shards": Key(
        Option(
            1,
            "devices that share the labels of the head (parameters, their moments, "
            "logits); a divisor of the devices. For ten thousands of labels; the "
            "numbers stay the same",
            1,
            _INT32,
        ),
        may_change=True,
        before=1,
    ),
    "image_size": Key(
        Option(512, "px; pictures are resized and padded to a square", 1, 2**14)
    ),
    "pad_colour": Key(
        Option(
            "black",
            "of what is padded, in training, evaluation and prediction; mean is the "
            "mean of ImageNet",
            choices=tuple(letterboxes.PAD_COLOURS),
        ),
        before="black",
    ),
    "flip": Key(Option(True, "mirror training images at random")),
    "num_threads": Key(
        # Each has batches of its own.
        Option(2, "that decode pictures ahead of the step", 1, 256),
        may_change=True,
    ),
    "model.backbone": Key(
        Option("densenet121", "a name of docs/backbones.md, or package.module:Class")
    ),
    "model.backbone_options": Key(
        Option({}, "arguments of its constructor, by name"), before={}
    ),
    "model.pixel_mean": Key(
        Option(
            normalization.IMAGENET.mean,
            "of each channel, pixels in 0 to 1, in the backbone's order of colours; "
            "what its initial weights were trained with",
            -1000,
            1000,
        ),
        before=normalization.IMAGENET.mean,
    ),
    "model.pixel_std": Key(
        Option(normalization.IMAGENET.std, "likewise", 1e-6, 1000),
        before=normalization.IMAGENET.std,
    ),
    "model.colour_order": Key(
        Option("rgb", "in which the backbone sees colours", choices=("rgb", "bgr")),
        before="rgb",
    ),
    "model.drop_path_rate": Key(
        Option(
            0.0,
            "share of the last block's updates that are left out of an image's "
            "training, less in earlier ones; for ConvNeXt and ViT",
            0,
            0.9,
        ),
        before=0.0,
    ),
    "model.head": Key(Option("gcn", "gcn, linear, csra, or package.module:Class")),
    "model.head_options": Key(
        Option({}, "arguments of its constructor, by name"), before={}
    ),
    "model.pooling": Key(
        Option("max", "of the feature map, for gcn and linear: max (Eq. 3) or average")
    ),
    "model.hidden_features": Key(
        Option(1024, "between the two graph convolutions of gcn", 1, 2**16)
    ),
    "model.dtype": Key(
        Option("float32", "of the backbone's arithmetic: float32 or bfloat16")
    ),
    "graph.gamma": Key(Option(0.002, "threshold on P(L_j | L_i), Eq. 6")),
    "graph.p": Key(Option(0.2, "share of a label's neighbours in it, Eq. 7")),
    "graph.variant": Key(
        Option("paper", "paper, or reference_code: what ML-GCN's code computes")
    ),
    "graph.embedding": Key(
        Option("cooccurrence", "cooccurrence, one_hot, file or learned")
    ),
    "graph.embedding_dim": Key(
        Option(300, "width of cooccurrence, learned and file embeddings", 1, 2**16)
    ),
    "graph.embedding_file": Key(
        Option("", "GloVe .txt or .npz, for graph.embedding=file")
    ),
    "loss.name": Key(
        Option(
            "sigmoid_cross_entropy",
            "a name of docs/losses.md, or package.module:function",
        ),
        before="sigmoid_cross_entropy",
    ),
    "loss.options": Key(
        Option({}, "arguments of a function of others, by name"), before={}
    ),
    "optimizer.name": Key(
        Option(
            "adam",
            "adam, adamw (the same: weight_decay is decoupled), lamb or sgd",
            choices=tuple(optimizer.OPTIMIZERS),
        ),
        before="adam",
    ),
    "optimizer.learning_rate": Key(
        Option(1e-3, "the peak, where the rate changes", _LEAST_FLOAT32, _FLOAT32)
    ),
    "optimizer.schedule": Key(Option("constant", "constant or warmup_cosine")),
    "optimizer.warmup_epochs": Key(
        Option(1.0, "for warmup_cosine alone; may be a fraction", 0, 10**6)
    ),
    "optimizer.frozen_backbone_epochs": Key(
        Option(0.0, "at first the head alone learns", 0, 10**6), before=0.0
    ),
    "optimizer.backbone_learning_rate_factor": Key(Option(1.0, "", 0, _FLOAT32)),
    "optimizer.head_learning_rate_factor": Key(Option(1.0, "", 0, _FLOAT32)),
    "optimizer.learning_rate_factors": Key(
        Option(
            (),
            "PATTERN=FACTOR of parameters whose name, such as "
            "backbone/features/conv0/kernel, has a match of the pattern (a regular "
            "expression); those of several multiply",
        ),
        before=(),
    ),
    "optimizer.clip_norm": Key(
        Option(0.0, "largest global norm of the gradient; 0: any", 0, _FLOAT32)
    ),
    "optimizer.weight_decay": Key(
        Option(0.0, "decoupled, of kernels alone", 0, _FLOAT32)
    ),
    "optimizer.ema_decay": Key(
        Option(
            0.0,
            "moving average of the variables, used to predict; 0: none",
            0,
            1 - 2.0**-53,
        )
    ),
    "checkpoint_every_epochs": Key(Option(1, "", 1, _INT32), may_change=True),
    "keep_checkpoints": Key(Option(2, "the newest ones", 1, _INT32), may_change=True),
    # Both are saved when they are due, whatever the other intervals.
    "keep_best_checkpoint": Key(
        Option(False, "also that of the best validation mAP"),
        may_change=True,
        before=False,
    ),
    "keep_every_epochs": Key(
        Option(0, "also one every so many epochs, for good; 0: none", 0, _INT32),
        may_change=True,
        before=0,
    ),
    "checkpoint_store": Key(
        Option(
            "",
            "gs://BUCKET/RUN, s3://BUCKET/RUN or a folder elsewhere, of this run "
            "alone: a copy of the checkpoints, from which the run goes on where its "
            "folder is lost; empty: none",
        ),
        may_change=True,
        before="",
    ),
    "evaluate_every_epochs": Key(Option(1, "", 1, _INT32), may_change=True),
    "log_every_steps": Key(Option(50, "", 1, _INT32), may_change=True),
    "stuck_after_s": Key(
        Option(
            900.0,
            "seconds without a step, a validated batch or a save done after which a "
            "process takes itself for stuck, writes its stacks and ends with status "
            "75; 0: never. Compilation, restoring and the metrics of a validation may "
            "take any time",
            0,
            _INT32,
        ),
        may_change=True,
        before=900.0,
    ),
}
KEYS |= dict(
    itertools.chain.from_iterable(
        _added(options, section).items()
        for section, options in (
            *((f"model.{name}", options) for name, options in models.OPTIONS.items()),
            *((f"loss.{name}", kind.options) for name, kind in losses.LOSSES.items()),
            *(
                (f"optimizer.{name}", kind.options)
                for name, kind in optimizer.OPTIMIZERS.items()
            ),
            ("augmentation", augmentations.OPTIONS | crops.OPTIONS),
        )
    )
)
del KEYS["augmentation.flip"]  # config.flip, since ever
