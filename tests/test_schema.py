"""One row a key: defaults, what a run may change, configs of older runs, the page."""

import json
import pathlib

import configurations
import pytest

from mlgcn_jax.schema import configs, keys, page
from mlgcn_jax.training import promises

ROOT = pathlib.Path(__file__).parent.parent


def test_every_default_is_in_its_range():
    configs.check_values(configs.default())


@pytest.mark.parametrize("name", sorted(keys.KEYS))
def test_every_row_says_what_it_is(name: str):
    option = keys.KEYS[name].option
    # What the name says whole needs no words.
    assert option.meaning or name.endswith(("_factor", "_epochs", "_steps"))
    assert option.least <= option.most


def test_a_config_without_added_keys_is_what_runs_did_before():
    """The keys of the first runs alone, as they were written."""
    written = configs.default().to_dict()
    first = {
        name: value for name, value in written.items() if not isinstance(value, dict)
    }
    for name in ("loss", "augmentation", "initial_weights", "pad_colour"):
        written.pop(name), first.pop(name, None)
    written["model"] = {"backbone": "densenet_tiny", "head": "gcn"}
    upgraded = configs.upgrade(json.loads(json.dumps(written)))
    assert upgraded.model.backbone == "densenet_tiny"
    assert upgraded.model.csra.num_heads == 1
    assert upgraded.model.drop_path_rate == 0.0
    assert upgraded.loss.name == "sigmoid_cross_entropy"
    assert upgraded.augmentation.mixup == 0.0
    assert upgraded.pad_colour == "black"
    assert upgraded.is_locked
    with pytest.raises(AttributeError, match="pooling"):  # runs always had it
        upgraded.model.pooling  # noqa: B018


def test_what_was_written_stays():
    written = configs.default().to_dict()
    written["loss"]["focal"]["gamma"] = 3.0
    written["model"]["backbone_options"] = {"depth": 7}
    upgraded = configs.upgrade(written)
    assert upgraded.loss.focal.gamma == 3.0
    assert upgraded.model.backbone_options.depth == 7


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("data_dir", True),
        ("build.max_side", True),
        ("remat", True),
        ("batch_size", False),
        ("loss.name", False),
        ("augmentation.mixup", False),
        ("model.backbone_options.depth", False),
    ],
)
def test_what_a_run_may_change(name: str, allowed: bool):
    assert configs.may_change(name) == allowed


def test_the_page_is_that_of_the_rows():
    assert (ROOT / "docs" / "config.md").read_text() == page.to_markdown(), (
        "run: python -m mlgcn_jax.schema.page > docs/config.md"
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"model__dtype": 3}, r"config\.model\.dtype=3 must be a string"),
        ({"optimizer__name": "adan"}, r"name='adan' is not known; use one of adam,"),
        ({"pad_colour": "red"}, r"pad_colour='red' is not known; use one of black"),
        ({"loss__focal__gamma": -1.0}, r"loss\.focal\.gamma=-1\.0 must be at least 0"),
        ({"model__pixel_mean": (0.5, 0.5)}, r"pixel_mean=\(0\.5, 0\.5\) must be 3"),
        ({"model__pixel_std": (0.2, 0.2, 0.0)}, r"must be numbers of at least 1e-06"),
        ({"model__colour_order": "grb"}, r"'grb' is not known; use one of rgb, bgr"),
        ({"augmentation__mixup": 2.0}, r"augmentation\.mixup=2\.0 must be at most 1"),
    ],
)
def test_a_value_that_is_none_is_refused(overrides, message):
    config = configurations.tiny("data")
    values = {name.replace("__", "."): value for name, value in overrides.items()}
    for name, value in values.items():
        *sections, last = name.split(".")
        inner = config
        for section in sections:
            inner = inner[section]
        with inner.ignore_type():
            inner[last] = value
    with pytest.raises(ValueError, match=message):
        configs.check(config)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"loss__focal__gamma": 3.0},
            r"config\.loss\.focal\.gamma=3\.0 has no effect with "
            r"config\.loss\.name='sigmoid_cross_entropy'; use loss\.name='focal'",
        ),
        (
            {"model__csra__num_heads": 2},
            r"csra\.num_heads=2 has no effect with config\.model\.head='gcn'",
        ),
        (
            {"optimizer__sgd__nesterov": True},
            r"sgd\.nesterov=True has no effect with config\.optimizer\.name='adam'",
        ),
        ({"augmentation__mixup": 0.5, "batch_size": 1}, "mixes images of a batch"),
    ],
)
def test_an_option_of_what_is_not_chosen_is_refused(overrides, message):
    with pytest.raises(ValueError, match=message):
        promises.check(configurations.tiny("data", **overrides))


def test_arguments_of_a_function_of_others_are_refused_where_there_is_none():
    config = configurations.tiny("data")
    config.loss.options.power = 2.0
    with pytest.raises(ValueError, match=r"loss\.options=.*power.* has no effect"):
        promises.check(config)


def test_options_of_others_have_their_defaults_again():
    """So that one config serves rows with other heads (`mlgcn compare`)."""
    config = configurations.tiny(
        "data",
        model__csra__num_heads=2,
        loss__name="focal",
        loss__focal__gamma=3.0,
        optimizer__sgd__nesterov=True,
    )
    configs.reset_of_others(config)
    assert config.model.csra.num_heads == 1
    assert config.loss.focal.gamma == 3.0  # chosen
    assert config.optimizer.sgd.nesterov is False
    promises.check(config)


def test_an_option_of_what_is_chosen_is_not():
    promises.check(
        configurations.tiny("data", loss__name="focal", loss__focal__gamma=3.0)
    )
