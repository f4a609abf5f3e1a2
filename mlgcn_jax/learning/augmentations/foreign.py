"""Augmentations of other packages, named in a config as `package.module:function`."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mlgcn_jax.data import foreign_code
from mlgcn_jax.learning.augmentations import contract


def load(name: str) -> contract.Augmentation:
    """Returns the function that a name stands for, tried on shapes of a small batch.

    Raises:
        ValueError: it is not there, takes other arguments, fails, or returns something
            else than a batch of the same shapes and types.
    """
    function = foreign_code.find(name, f"augmentation {name!r}")
    _check_signature(name, function)
    batch = {
        "image": jax.ShapeDtypeStruct((4, 32, 32, 3), jnp.uint8),
        "labels": jax.ShapeDtypeStruct((4, 5), jnp.float32),
        "size": jax.ShapeDtypeStruct((4, 2), jnp.int32),
    }
    key = jax.eval_shape(jax.random.key, 0)
    with foreign_code.refused(
        f"augmentation {name!r}", "where it is traced for 4 images of 32 x 32 px"
    ):
        returned = jax.eval_shape(function, batch, key)
    expected, found = _describe(batch), _describe(returned)
    if expected != found:
        raise ValueError(
            f"augmentation {name} makes {found} of {expected}; it must return a batch "
            "of the same keys, shapes and types"
        )
    return function


def _check_signature(name: str, function: Callable[..., Any]) -> None:
    try:
        inspect.signature(function).bind({}, None)
    except TypeError as error:
        raise ValueError(
            f"augmentation {name} takes {inspect.signature(function)}; it must take "
            "(batch, key)"
        ) from error


def _describe(tree: Any) -> str:
    """Returns the shapes and types of a batch as text; of anything else, what it is."""
    if not isinstance(tree, dict):
        return type(tree).__name__
    parts = [f"{name}: {_describe_array(x)}" for name, x in sorted(tree.items())]
    return "{" + ", ".join(parts) + "}"


def _describe_array(x: Any) -> str:
    if not isinstance(x, jax.ShapeDtypeStruct):
        return type(x).__name__
    return f"{x.dtype}{list(x.shape)}"
