"""A loss from elsewhere: `package.module:function`, checked before a run uses it."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlgcn_jax.data import foreign_code
from mlgcn_jax.learning.losses import contract

_SIGNATURE = "(logits [b l], labels [b l], weights [b l] | None, epoch) -> [b]"


def load(name: str, options: Mapping[str, Any], *, num_labels: int) -> contract.Loss:
    """Returns the function as a loss, its options bound as keywords.

    It is called as `contract` says, and is traced here, with weights and without. One
    that has not said that it takes unknown labels, by `takes_unknown_labels = True` as
    an attribute of the function, gets them as absent with logit and weight 0.

    Args:
        name: `package.module:function`, importable where we run.
        options: keyword arguments beside those that all losses take.
        num_labels: l.

    Raises:
        ValueError: the name leads to no function, or it is not a loss; the message says
            which, and the error of the foreign code is its cause.
    """
    function = foreign_code.find(name, f"loss {name!r}")
    loss = functools.partial(function, **options)
    _check_arguments(name, function, options)
    _check_value(name, loss, num_labels)
    if getattr(function, "takes_unknown_labels", False):
        return loss
    return _without_unknown_labels(loss)


def _without_unknown_labels(loss: contract.Loss) -> contract.Loss:
    """Returns a loss that is called without labels below 0, which have no gradient."""

    def masked(
        logits: Float[Array, "b l"],
        labels: Float[Array, "b l"],
        weights: Float[Array, "b l"] | None,
        epoch: contract.Epoch,
    ) -> Float[Array, " b"]:
        known = labels >= 0
        if weights is None:
            weights = jnp.ones_like(labels)
        logits, labels, weights = (
            jnp.where(known, x, 0) for x in (logits, labels, weights)
        )
        return loss(logits, labels, weights, epoch)

    return masked


def _check_arguments(
    name: str, function: Callable[..., Any], options: Mapping[str, Any]
) -> None:
    try:
        signature = inspect.signature(function)
    except ValueError:  # of some functions that are written in C; tracing will tell
        return
    try:
        signature.bind("logits", "labels", "weights", "epoch", **options)
    except TypeError as error:
        raise ValueError(
            f"loss {name!r} takes {signature}, not four arguments and the options "
            f"{sorted(options)} ({error}); it must be a function {_SIGNATURE}"
        ) from error


def _check_value(name: str, loss: contract.Loss, num_labels: int) -> None:
    # Another number than that of labels, so that a mean over images is told from one
    # over labels.
    num_images = num_labels + 1
    entries = jax.ShapeDtypeStruct((num_images, num_labels), jnp.float32)
    epoch = jax.ShapeDtypeStruct((), jnp.float32)
    for weights in (None, entries):
        with foreign_code.refused(
            f"loss {name!r}",
            f"where it is traced for logits and labels of shape {entries.shape} and "
            f"weights {weights}",
            advice=f"it must be a function {_SIGNATURE} of JAX arrays",
        ):
            found = jax.eval_shape(loss, entries, entries, weights, epoch)
        is_array = isinstance(found, jax.ShapeDtypeStruct)
        if not is_array or (found.shape, found.dtype) != ((num_images,), jnp.float32):
            raise ValueError(
                f"loss {name!r} returns {found} for logits and labels of shape "
                f"{entries.shape}; it must return float32 of shape ({num_images},), "
                "the loss of each image"
            )
