"""JAX's settings in the environment or program of a user: those that cannot hold here.

All others work as they are, debug_nans, the precision of products, rank promotion and
the guard of implicit transfers among them.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import jax
from absl import logging

from mlgcn_jax.devices import xla_flags
from mlgcn_jax.runs import processes


class _Setting(NamedTuple):
    """A setting that is replaced where it has another value.

    Attributes:
        usable: values that can stay; the first replaces the others.
        replaced: JAX's own context manager, which holds in this thread.
        why: others cannot stay.
    """

    usable: tuple[Any, ...]
    replaced: Callable[[Any], AbstractContextManager[None]]
    why: str


_SEEDS = "a seed means the same numbers on every machine, also in a run that goes on"
_SETTINGS = {
    "jax_enable_x64": _Setting(
        (False,), jax.enable_x64, "parameters, checkpoints and sums are float32"
    ),
    "jax_numpy_dtype_promotion": _Setting(
        ("standard",), jax.numpy_dtype_promotion, "optax's Adam promotes dtypes"
    ),
    "jax_default_prng_impl": _Setting(("threefry2x32",), jax.default_prng_impl, _SEEDS),
    "jax_threefry_partitionable": _Setting((True,), jax.threefry_partitionable, _SEEDS),
    "jax_disable_jit": _Setting(
        (False,), jax.disable_jit, "programs are compiled before their first call"
    ),
    "jax_transfer_guard": _Setting(
        ("disallow", "log_explicit", "log", "allow", None),
        jax.transfer_guard,
        "pictures go to the devices, and scores come back, by explicit transfers",
    ),
}


def check_devices() -> None:
    """Asks for the first device.

    Raises:
        ValueError: JAX has none to compute on, or XLA refuses XLA_FLAGS.
    """
    xla_flags.check()
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # the latter with nothing in it
        reason = str(error).split("\n")[0] or "none of the platforms is there"
        raise ValueError(
            f"JAX has no device with JAX_PLATFORMS={_value('jax_platforms') or ''} "
            f"({reason}); unset it, or install JAX for that device"
        ) from error


@contextlib.contextmanager
def usable() -> Iterator[None]:
    """Replaces, for this thread, the settings under which nothing here can work.

    Also a decorator. What is replaced is logged, once.

    Raises:
        ValueError: a setting cannot hold and cannot be replaced, or there is no device.
    """
    check_devices()
    if offset := _value("jax_random_seed_offset"):
        raise ValueError(
            f"jax_random_seed_offset={offset} would change what config.seed means; "
            "unset it, and give another config.seed"
        )
    with contextlib.ExitStack() as stack:
        for name, setting in _SETTINGS.items():
            found = _value(name)
            if found not in setting.usable:
                _say_replaced(name, found)
                stack.enter_context(setting.replaced(setting.usable[0]))
        yield


def _value(name: str) -> Any:
    return getattr(jax.config, name)  # of which pyright knows some only


@functools.cache
def _say_replaced(name: str, found: Any) -> None:
    setting = _SETTINGS[name]
    if processes.is_first():
        logging.warning(
            "JAX's setting %s=%s does not hold here, but %s: %s",
            *(name, found, setting.usable[0], setting.why),
        )
