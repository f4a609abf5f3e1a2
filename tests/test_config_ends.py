"""Every number of a config at the ends of its range: it runs, or is refused in words.

Those that go together are tried together, so that few programs are compiled. Not tried
is the largest image: its maps fill hundreds of gigabytes.
"""

import operator

import configurations
import pytest
from run_logs import curves

from configs import default
from mlgcn_jax.data import dataset
from mlgcn_jax.schema import configs
from mlgcn_jax.training import train

INT32 = 2**31 - 1
FLOAT32 = 3.4e38
LOWEST = {
    "seed": 0,
    "num_epochs": 1,  # 0 is a run without training: tests/test_initial_weights.py
    "batch_size": 1,
    "accumulation_steps": 1,
    "label_shards": 1,
    "image_size": 5,
    "num_threads": 1,
    "model.drop_path_rate": 0.0,
    "model.hidden_features": 1,
    "graph.gamma": 2.0**-1000,
    "graph.p": 0.0,
    "graph.embedding_dim": 1,
    "optimizer.learning_rate": 2.0**-126,
    "optimizer.warmup_epochs": 0.0,
    "optimizer.frozen_backbone_epochs": 0.0,
    "optimizer.backbone_learning_rate_factor": 0.0,
    "optimizer.head_learning_rate_factor": 2.0**-126,
    "optimizer.clip_norm": 0.0,
    "optimizer.weight_decay": 0.0,
    "optimizer.ema_decay": 0.0,
    "checkpoint_every_epochs": 1,
    "keep_checkpoints": 1,
    "keep_every_epochs": 0,
    "evaluate_every_epochs": 1,
    "log_every_steps": 1,
    "stuck_after_s": 0.0,
}
HIGHEST = {
    "seed": 2**32 - 1,
    "model.hidden_features": 2**16,
    "graph.gamma": 1.0,
    "graph.p": 1 - 2.0**-53,
    "optimizer.frozen_backbone_epochs": 1e6,
    "optimizer.clip_norm": FLOAT32,
    "optimizer.ema_decay": 1 - 2.0**-53,
    "checkpoint_every_epochs": INT32,
    "keep_checkpoints": INT32,
    "evaluate_every_epochs": INT32,
    "log_every_steps": INT32,
    "stuck_after_s": float(INT32),
}
# Alone, as none of them runs: with what is said.
REFUSED = {
    "num_epochs": (INT32, "at most 2,147,483,647 can be counted"),
    "batch_size": (INT32, "is larger than the train split|not divisible"),
    "accumulation_steps": (INT32, "not divisible"),
    "label_shards": (INT32, "does not divide 8 devices"),
    "model.drop_path_rate": (0.9, r"no option \['drop_path_rate'\]"),
    "optimizer.warmup_epochs": (1e6, "fills the whole run"),
    "keep_every_epochs": (INT32, "keeps nothing of a run"),
}
# A step of them is made, and then its numbers are none.
DIVERGING = {
    "optimizer.learning_rate": FLOAT32,
    "optimizer.backbone_learning_rate_factor": FLOAT32,
    "optimizer.head_learning_rate_factor": FLOAT32,
    "optimizer.weight_decay": FLOAT32,
    "graph.embedding_dim": 2**16,  # not with as many hidden features: 17 GB
    "num_threads": 256,  # with small batches, of which they make 512
}
NOT_TRIED = {"image_size"}  # at its upper end


def with_values(data_dir, values, **overrides):
    config = configurations.tiny(data_dir, **overrides)
    config.update_from_flattened_dict(values)
    return config


def numbers() -> set[str]:
    """Every key that is a number.

    The build's are flags of another stage too; tests/test_augmentations.py and
    tests/test_crops.py have the ends of what changes pictures.
    """
    config, found = default.get_config(), set()
    for name, value in config.items():
        inner = value.items() if hasattr(value, "items") else [("", value)]
        for key, number in inner:
            if isinstance(number, int | float) and not isinstance(number, bool):
                found.add(f"{name}.{key}".rstrip("."))
    return {key for key in found if not key.startswith(("build.", "augmentation."))}


def test_no_number_is_left_out():
    assert set(LOWEST) == numbers()
    assert {*HIGHEST, *REFUSED, *DIVERGING, *NOT_TRIED} == numbers()


def test_the_lowest_run(data_dir, tmp_path, one_device):
    """With a batch of one picture of five pixels the last map is a single value."""
    config = with_values(data_dir, LOWEST)
    assert train.train_and_evaluate(config, tmp_path) is None
    num_examples = dataset.open_dataset(data_dir).num_examples("train")
    losses = [line["step"] for line in curves(tmp_path) if "loss" in line]
    assert losses == list(range(1, num_examples + 1))


def test_the_highest_run(data_dir, tmp_path, one_device):
    num_examples = dataset.open_dataset(data_dir).num_examples("train")
    config = with_values(
        data_dir, HIGHEST, num_epochs=3, batch_size=num_examples, image_size=16
    )
    assert train.train_and_evaluate(config, tmp_path) is None
    assert curves(tmp_path)[-1]["step"] == 3


@pytest.mark.parametrize("key", REFUSED)
def test_what_cannot_run_is_refused(data_dir, tmp_path, key):
    value, message = REFUSED[key]
    schedule = "warmup_cosine" if key == "optimizer.warmup_epochs" else "constant"
    config = with_values(data_dir, {key: value}, optimizer__schedule=schedule)
    with pytest.raises(ValueError, match=message):
        train.train_and_evaluate(config, tmp_path)


def test_what_diverges_is_told(data_dir, tmp_path):
    config = with_values(data_dir, DIVERGING)
    with pytest.raises(ValueError, match="training diverged at step 1"):
        train.train_and_evaluate(config, tmp_path)


@pytest.mark.parametrize("key", sorted(numbers() - {"graph.gamma", "graph.p"}))
def test_beyond_the_ends_it_is_refused(key):
    """Of the graph's two numbers `tests/test_label_graph.py` says it."""
    whole = isinstance(operator.attrgetter(key)(default.get_config()), int)
    step = 1 if whole else 2.0**-1000
    ends = {**LOWEST, "num_epochs": 0, "image_size": 1}
    for value in (ends[key] - step, -1, 2**70 if whole else 1e39):
        if value == ends[key]:  # a float that absorbs the step
            continue
        config = with_values("data", {key: value})
        with pytest.raises(ValueError, match=rf"config\.{key}=.* must be "):
            configs.check(config)
