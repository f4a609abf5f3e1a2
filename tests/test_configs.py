"""Every shipped config builds, and a typo in one is an error."""

import importlib
import json
import pathlib

import pytest

from configs import default
from mlgcn_jax.learning import optimizer
from mlgcn_jax.runs import train_state

CONFIGS = sorted(
    path.stem for path in pathlib.Path(default.__file__).parent.glob("*.py")
)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_builds(name: str):
    config = importlib.import_module(f"configs.{name}").get_config()
    assert set(config) == set(default.get_config())
    json.dumps(config.to_dict())
    schedule = optimizer.create_schedule(config, steps_per_epoch=60, num_steps=600)
    optimizer.create_optimizer(config, schedule, steps_per_epoch=1)
    _, variables = train_state.model_structure(config, num_labels=40)
    assert variables.params["backbone"] and variables.params["head"]


def test_the_paper_config_is_the_paper():
    config = importlib.import_module("configs.paper").get_config()
    assert config.model.backbone == "densenet121"
    assert (config.image_size, config.num_epochs) == (512, 30)
    assert (config.graph.gamma, config.graph.p) == (0.002, 0.2)
    assert config.graph.variant == "paper"
    assert (config.model.head, config.model.pooling) == ("gcn", "max")
    assert config.model.hidden_features == 1024
    assert config.flip
    optimizer_options = config.optimizer.to_dict()
    for name in optimizer.OPTIMIZERS:
        optimizer_options.pop(name)
    assert optimizer_options == {
        "name": "adam",
        "learning_rate_factors": (),
        "learning_rate": 1e-3,
        "schedule": "constant",
        "warmup_epochs": 1.0,  # plays no part in a constant schedule
        "frozen_backbone_epochs": 0.0,
        "backbone_learning_rate_factor": 1.0,
        "head_learning_rate_factor": 1.0,
        "clip_norm": 0.0,
        "weight_decay": 0.0,
        "ema_decay": 0.0,
    }


def test_a_typo_is_an_error():
    config = default.get_config().lock()
    with pytest.raises(AttributeError, match="learning_rate"):
        config.optimizer.learning_rat = 1.0
