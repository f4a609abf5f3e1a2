"""Short texts between the processes of a job, by way of process 0.

Not over the devices, which may be what is wrong: JAX's coordination service keeps them,
as it keeps what the processes tell each other of their devices.
"""

from typing import Any

import jax
from jax._src import distributed  # has no public face

_PREFIX = "mlgcn/"


def index() -> int:
    """Returns which process this is, from 0; asks no device."""
    return distributed.global_state.process_id


def count() -> int:
    """Returns how many processes there are; asks no device."""
    return distributed.global_state.num_processes


def tell(name: str, text: str) -> None:
    """Tells all processes a text, once under each name.

    Raises:
        JaxRuntimeError: process 0 is gone.
    """
    _client().key_value_set(f"{_PREFIX}{name}/{index()}", text)


def hear(name: str, process: int, *, timeout_s: float) -> str | None:
    """Returns what a process tells under a name, None where it does not in time."""
    try:
        return _client().blocking_key_value_get(
            f"{_PREFIX}{name}/{process}", max(1, int(timeout_s * 1000))
        )
    except jax.errors.JaxRuntimeError:
        return None


def _client() -> Any:
    return distributed.global_state.client
