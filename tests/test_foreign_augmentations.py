"""Augmentations named in a config as `package.module:function`."""

import jax
import numpy as np
import pytest
from augmented_batches import KEY, assert_equal_batches, make_batch

from mlgcn_jax.learning.augmentations import registry

SOURCE = """
import jax
import jax.numpy as jnp

NUMBER = 3


def invert(batch, key):
    image = batch["image"]
    is_inverted = jax.random.bernoulli(key, 0.5, (len(image), 1, 1, 1))
    return batch | {"image": jnp.where(is_inverted, 255 - image, image)}


def same(batch, key):
    return batch


def without_key(batch):
    return batch


def halved(batch, key):
    return batch | {"image": batch["image"][:, ::2, ::2]}


def as_float(batch, key):
    return batch | {"image": batch["image"] / 255}


def less(batch, key):
    return {"image": batch["image"], "labels": batch["labels"]}


def nothing(batch, key):
    return None


def numbers(batch, key):
    return batch | {"size": 3}


def failing(batch, key):
    raise KeyError("no such colour")


def looks(batch, key):
    return batch if batch["image"].max() > 3 else batch
"""


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "their_augmentations.py").write_text(SOURCE)
    (tmp_path / "their_broken_module.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)


def create(*names, **values):
    foreign = [f"their_augmentations:{name}" for name in names]
    return registry.create({"flip": False, "foreign": foreign} | values)


def test_it_is_done_with_a_key_of_its_name():
    batch = make_batch()
    found = create("invert")(batch, KEY)
    image = np.asarray(batch["image"])
    inverted = (np.asarray(found["image"]) == 255 - image).all((1, 2, 3))
    same = (np.asarray(found["image"]) == image).all((1, 2, 3))
    assert (inverted ^ same).all()
    assert 12 <= inverted.sum() <= 52
    again = create("same", "invert")(batch, KEY)
    assert_equal_batches(again, found)
    mixed = jax.jit(create("invert", mixup=0.5))(batch, KEY)
    assert (np.asarray(mixed["image"]) != np.asarray(found["image"])).any()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("invert", "'invert' must be named package.module:name"),
        (":invert", "must be named"),
        ("their_augmentations:", "must be named"),
        ("not_there:f", "module not_there cannot be imported .*ModuleNotFoundError"),
        ("their_broken_module:f", "cannot be imported .ZeroDivisionError"),
        ("their_augmentations:f", r"\(.*their_augmentations.py\) has no f$"),
        (
            "their_augmentations:NUMBER",
            "NUMBER' is a int, expected a class or function",
        ),
        ("their_augmentations:without_key", r"takes \(batch\); it must take"),
        ("their_augmentations:halved", r"makes \{image: uint8\[4, 16, 16, 3\]"),
        ("their_augmentations:as_float", r"makes \{image: float32\[4, 32, 32, 3\]"),
        ("their_augmentations:less", "of the same keys, shapes and types"),
        ("their_augmentations:nothing", "makes NoneType of {image"),
        ("their_augmentations:numbers", "makes .*size: int32"),
        (
            "their_augmentations:failing",
            "fails where it is traced for 4 .*: KeyError: 'no such colour'",
        ),
        (
            "their_augmentations:looks",
            "fails where it is traced for 4 .*: TracerBool",
        ),
    ],
)
def test_one_that_does_not_keep_the_contract(name, message):
    with pytest.raises(ValueError, match=message):
        registry.check({"foreign": (name,)}, batch_size=8)


def test_the_foreign_error_is_beneath_ours():
    with pytest.raises(ValueError) as raised:
        create("failing")
    assert isinstance(raised.value.__cause__, KeyError)


def test_the_same_twice():
    with pytest.raises(ValueError, match="their_augmentations:same is named twice"):
        create("same", "same")
