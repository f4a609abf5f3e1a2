"""A toy of each recipe of CONTRIBUTING.md, in a package of its own, is trained."""

import configurations
import numpy as np
import pytest
from run_logs import curves

from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import trained_model
from mlgcn_jax.training import train

TOYS = '''
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from mlgcn_jax.models import contract


class Backbone(nnx.Module):
    """Keeps our contract: a tap, and dropout from the key of the call."""

    min_image_size_px = 4
    norm_after_pooling = None
    tap_names = ("first",)

    def __init__(self, *, width=6, dtype, rngs):
        self.conv = nnx.Conv(3, width, (3, 3), strides=4, dtype=dtype, rngs=rngs)
        self.num_features = width

    def __call__(self, image, *, train, key=None):
        first = self.conv(image)
        x = jax.nn.relu(first)
        if train and key is not None:
            x *= 2.0 * jax.random.bernoulli(key, shape=x.shape)
        return contract.ImageFeatures(x, {"first": first})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Scorer:
    kernel: Any

    def __call__(self, features, context):
        x = features.feature_map.mean((1, 2)) + features.taps["first"].max((1, 2))
        logits = jnp.einsum("bd,ld->bl", x, self.kernel)
        weights = None if context.labels is None else 1.0 + context.labels
        penalty = 1e-3 * jnp.square(self.kernel).sum()
        return contract.HeadOutput(logits, ((0.5, 2.0 * logits),), weights, penalty)


class Head(nnx.Module):
    tap_names = ("first",)

    def __init__(self, num_labels, num_features, *, rngs):
        shape = (num_labels, num_features)
        self.kernel = nnx.Param(jax.random.normal(rngs.params(), shape))

    def __call__(self, graph):
        return Scorer(self.kernel[...])


class OfAnotherShape(Head):
    def __call__(self, graph):
        return Scorer(self.kernel[...][:1])


class NotFinite(Head):
    def __call__(self, graph):
        return Scorer(jnp.log(self.kernel[...]))  # of which half is below 0


class OnlyInTraining(Backbone):
    def __call__(self, image, *, train, key=None):
        if not train:
            raise RuntimeError("cannot infer")
        return super().__call__(image, train=train, key=key)


def loss(logits, labels, weights, epoch, *, power=2.0):
    entries = jnp.abs(labels - jax.nn.sigmoid(logits)) ** power
    return (entries if weights is None else entries * weights).mean(1)


def darken(batch, key):
    dark = jax.random.bernoulli(key, shape=(len(batch["image"]), 1, 1, 1))
    return batch | {"image": jnp.where(dark, batch["image"] // 2, batch["image"])}
'''


@pytest.fixture
def toys(tmp_path, monkeypatch):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "toys.py").write_text(TOYS)
    monkeypatch.syspath_prepend(tmp_path / "package")


def make_config(data_dir, **overrides):
    return configurations.tiny(
        data_dir,
        num_epochs=1,
        batch_size=24,
        model__backbone="toys:Backbone",
        model__head="toys:Head",
        loss__name="toys:loss",
        augmentation__foreign=("toys:darken",),
        **overrides,
    )


def test_toys_of_all_kinds_train_together(toys, data_dir, tmp_path):
    config = make_config(data_dir)
    config.model.backbone_options.width = 5
    config.loss.options.power = 1.5
    assert train.train_and_evaluate(config, tmp_path / "run") is None
    losses = [line["loss"] for line in curves(tmp_path / "run") if "loss" in line]
    assert len(losses) >= 2 and np.isfinite(losses).all()
    model = trained_model.open_run(tmp_path / "run", meshes.create_mesh())
    params = model.variables.params
    assert params["head"]["kernel"].shape[1] == 5
    assert params["backbone"]["conv"]["kernel"].shape == (3, 3, 3, 5)
    # The same command goes on, that is: finds that it is done.
    assert train.train_and_evaluate(config, tmp_path / "run") is None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"model__head": "toys:OfAnotherShape"}, r"training step .* float32\[24, "),
        ({"model__head": "toys:NotFinite"}, r"head='toys:NotFinite' returns NaN or "),
        ({"model__backbone": "toys:OnlyInTraining"}, "where inference is traced"),
        ({"model__backbone": "densenet_tiny"}, r"reads \['first'\] of the backbone"),
        ({"loss__name": "toys:nothing"}, r"toys\.py\) has no nothing"),
    ],
)
def test_what_cannot_work_leaves_no_run(toys, data_dir, tmp_path, overrides, message):
    config = make_config(data_dir)
    config.update_from_flattened_dict(
        {name.replace("__", "."): value for name, value in overrides.items()}
    )
    with pytest.raises(ValueError, match=message):
        train.train_and_evaluate(config, tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()
