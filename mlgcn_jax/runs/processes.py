"""The processes of a run: which one this is, and what they settle among each other.

With one process all of it is trivial. What is settled takes every process: whoever
ends before it leaves the others to the runtime, which ends them too.
"""

from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils


def count() -> int:
    """Returns how many processes the run has."""
    return jax.process_count()


def index() -> int:
    """Returns which of them this is, from 0."""
    return jax.process_index()


def is_first() -> bool:
    """Whether this is the process that writes what a run has once."""
    return jax.process_index() == 0


def agree(value: int) -> int:
    """Returns the first process's value in every process."""
    if count() == 1:
        return value
    with jax.transfer_guard("allow"):
        return int(multihost_utils.broadcast_one_to_all(np.int64(value)))


def gather(tree: Any) -> Any:
    """Returns every process's arrays, stacked along a new first axis [processes ...].

    The arrays of all processes have the same shapes.
    """
    if count() == 1:
        return jax.tree.map(lambda x: np.asarray(x)[None], tree)
    with jax.transfer_guard("allow"):
        return multihost_utils.process_allgather(tree)
