"""Every key of a config, with its meaning; the other configs start from this one.

Not run by itself: DenseNet-121 + GCN on your own data, see the README:

    ./launch.sh configs/default.py --config.data_dir=DIR --workdir=RUN
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    """Returns the default config."""
    config = ml_collections.ConfigDict()

    config.seed = 0  # of initial parameters, order of examples and flips
    config.data_dir = ""  # the dataset: what `mlgcn build --data_dir` wrote
    # `launch` and `compare` build it first, where data_dir holds nothing else; one that
    # is there must be this one, by its content.
    config.build = build = ml_collections.ConfigDict()
    build.source = ""  # crawl folder or archive, or "sample"; "": it is built already
    build.labels = ""  # vocabulary file or shipped name; "": labels.csv of the source
    build.top = 0  # or: the labels with the most works; 0: not
    build.min_works = 0  # or: the labels with at least so many works; 0: not
    build.negatives = "drop"  # pictures with tags but none of the labels: drop | keep
    # Training pictures that are copies of validation pictures: "drop" or "keep"; "":
    # drop, and a dataset that is there already stays as it is
    build.twins = ""
    build.implications = ""  # file of labels that imply others, or shipped; "": none
    build.max_side = 512  # px; larger pictures are stored with this long side

    # PyTorch's: .pth, .safetensors or .npz; "": random. A run that goes on knows this
    # file, and graph.embedding_file, by its content: it may lie elsewhere.
    config.initial_weights = ""
    # Passes over the training split, which fill no whole number of batches: one may
    # hold the end of a pass and the start of the next. 0: no training.
    config.num_epochs = 30
    config.batch_size = 32  # images a step over all devices
    # Micro-batches of a step, one after another: less memory. The gradient is that of
    # the whole batch, but batch norm sees each by itself.
    config.accumulation_steps = 1
    config.remat = False  # compute layers again for the gradient: less memory, slower
    # Devices that share the labels of the head (parameters, their moments, logits); a
    # divisor of the devices. For ten thousands of labels; the numbers stay the same.
    config.label_shards = 1
    config.image_size = 512  # px; pictures are resized and padded black to a square
    config.flip = True  # mirror training images at random
    config.num_threads = 2  # that decode pictures ahead of the step

    config.model = model = ml_collections.ConfigDict()
    model.backbone = "densenet121"  # see mlgcn_jax/models/registry.py
    model.head = "gcn"  # gcn | linear | csra
    model.pooling = "max"  # max (Eq. 3) | average
    model.hidden_features = 1024  # between the two graph convolutions
    model.dtype = "float32"  # of the backbone's arithmetic: float32 | bfloat16
    # Share of the last block's updates that are left out of an image's training; less
    # in the earlier ones. For backbones with residual blocks that have it; 0: none.
    model.drop_path_rate = 0.0
    # Backbone and head may be a Flax module of others, "package.module:Class". These
    # are arguments of its constructor by name; of our own too.
    model.backbone_options = ml_collections.ConfigDict()
    model.head_options = ml_collections.ConfigDict()
    model.csra = csra = ml_collections.ConfigDict()
    csra.num_heads = 1  # 1 | 2 | 4 | 6 | 8, from average to maximum
    csra.residual_weight = 0.2  # of the attention beside the mean; 0.1 to 0.5

    config.graph = graph = ml_collections.ConfigDict()
    graph.gamma = 0.002  # threshold on P(L_j | L_i), Eq. 6
    graph.p = 0.2  # share of a label's neighbours in it, Eq. 7
    graph.variant = "paper"  # paper | reference_code (what ML-GCN's code computes)
    graph.embedding = "cooccurrence"  # cooccurrence | one_hot | file | learned
    graph.embedding_dim = 300  # width of cooccurrence, learned and file embeddings
    graph.embedding_file = ""  # GloVe .txt or .npz, for embedding = "file"

    config.loss = loss = ml_collections.ConfigDict()
    loss.name = "sigmoid_cross_entropy"  # Eq. 5; see docs/losses.md for the others
    loss.options = ml_collections.ConfigDict()  # arguments of a function of others

    config.optimizer = optimizer = ml_collections.ConfigDict()  # Adam
    optimizer.learning_rate = 1e-3  # the peak, where the rate changes
    optimizer.schedule = "constant"  # constant | warmup_cosine
    optimizer.warmup_epochs = 1.0  # for warmup_cosine alone; may be a fraction
    optimizer.frozen_backbone_epochs = 0.0  # at first the head alone learns
    optimizer.backbone_learning_rate_factor = 1.0
    optimizer.head_learning_rate_factor = 1.0
    optimizer.clip_norm = 0.0  # largest global norm of the gradient; 0: no clipping
    optimizer.weight_decay = 0.0  # decoupled, of kernels alone
    optimizer.ema_decay = 0.0  # moving average of the variables, used to predict; 0: no

    config.checkpoint_every_epochs = 1
    config.keep_checkpoints = 2  # the newest ones
    # Also that of the best validation mAP, and one every so many epochs, for good (0:
    # none): both are saved when they are due, whatever the other intervals.
    config.keep_best_checkpoint = False
    config.keep_every_epochs = 0
    # gs://BUCKET/RUN, s3://BUCKET/RUN or a folder elsewhere, of this run alone: a copy
    # of the checkpoints, from which the run goes on where its folder is lost; "": none
    config.checkpoint_store = ""
    config.evaluate_every_epochs = 1
    config.log_every_steps = 50
    # Seconds without a step, a validated batch or a save done after which a process
    # takes itself for stuck, writes its stacks and ends with status 75; 0: never.
    # Compilation, restoring and the metrics of a validation may take any time.
    config.stuck_after_s = 900.0
    return config
