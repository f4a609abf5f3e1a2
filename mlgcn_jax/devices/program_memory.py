"""How much memory a compiled program needs of each device, and what it leaves room for.

Counted by the compiler, not measured.
"""

import math
from typing import Any

import jax


def peak_bytes(compiled: jax.stages.Compiled) -> int:
    """Returns what a program needs of each device: arguments, results, temporaries."""
    memory: Any = compiled.memory_analysis()  # None on no platform of ours
    return (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
    )


def bytes_of(tree: Any) -> int:
    """Returns what each device holds of arrays, or of shapes with shardings."""
    return sum(
        math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize
        for x in jax.tree.leaves(tree)
    )


def largest_batch(
    *, memory_bytes: int, batch_size: int, peak_bytes: int, state_bytes: int
) -> int:
    """Returns how many images there is memory for, judged by one batch.

    What a step needs beside its state is taken to grow with the images.

    Args:
        memory_bytes: of a device.
        batch_size: images of a step that was compiled.
        peak_bytes: that it needs, more than `state_bytes`.
        state_bytes: what a device holds whatever the batch.
    """
    free_bytes = max(memory_bytes - state_bytes, 0)
    return free_bytes * batch_size // (peak_bytes - state_bytes)
