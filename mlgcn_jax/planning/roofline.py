"""Costs of a step and figures of a chip -> how fast it can be, and what fits."""

from typing import Any

from mlgcn_jax.planning import chips, costs


def estimate(
    topology: chips.Topology,
    counted: costs.Costs,
    *,
    flops: float,
    state_bytes: int,
    batch_size: int,
) -> dict[str, Any]:
    """Returns the roofline: no step is faster than its arithmetic or its bytes.

    Messages between chips are not in it.

    Args:
        topology: the chips.
        counted: costs of a step to each of them.
        flops: arithmetic of a step, on all of them.
        state_bytes: what each holds whatever the batch; the rest of its peak memory
            is taken to grow with the images.
        batch_size: images of a step, on all of them.
    """
    chip, num_chips = topology.chip, topology.num_chips
    images_per_chip = batch_size // num_chips
    seconds = {
        "arithmetic": flops / num_chips / chip.flops_per_s,
        "memory traffic": counted.bytes_accessed / chip.hbm_bytes_per_s,
    }
    bound_by = max(seconds, key=lambda kind: seconds[kind])
    free_bytes = chip.hbm_bytes - state_bytes
    bytes_per_image = (counted.peak_bytes - state_bytes) / images_per_chip
    return {
        "bytes_per_image": counted.bytes_accessed / images_per_chip,
        "flops_per_image": flops / batch_size,
        "peak_bytes_per_chip": counted.peak_bytes,
        "fits": counted.peak_bytes <= chip.hbm_bytes,
        "largest_batch_per_chip": int(free_bytes / bytes_per_image),
        "images_per_s_bound": batch_size / seconds[bound_by],
        "bound_by": bound_by,
        "collectives": counted.collectives,
    }


def does_not_fit(*, flops: float, batch_size: int, reason: str) -> dict[str, Any]:
    """Returns the same keys where a compiler gave up for want of memory."""
    return {
        "bytes_per_image": None,
        "flops_per_image": flops / batch_size,
        "peak_bytes_per_chip": None,
        "fits": False,
        "largest_batch_per_chip": None,
        "images_per_s_bound": None,
        "bound_by": reason,
        "collectives": {},
    }
