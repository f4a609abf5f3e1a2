"""Costs of a step and figures of a chip -> how fast it can be, and what fits."""

from typing import Any

from mlgcn_jax.devices import program_memory
from mlgcn_jax.planning import chips, collectives, costs, steps
from mlgcn_jax.runs import epochs

MESSAGES = "messages"


def estimate(
    topology: chips.Topology,
    counted: costs.Costs,
    *,
    flops: float,
    memory: steps.Memory,
    batch_size: int,
) -> dict[str, Any]:
    """Returns the roofline: no step is faster than the slowest of its three parts.

    Arithmetic, memory traffic and messages between chips are taken at their published
    peaks, and all at the same time.

    Args:
        topology: the chips.
        counted: costs of a step to each of them.
        flops: arithmetic of a step, on all of them.
        memory: what each holds whatever the batch.
        batch_size: images of a step, on all of them.
    """
    chip, num_chips = topology.chip, topology.num_chips
    images_per_chip = batch_size // num_chips
    messages = _by_kind(counted.collectives, topology)
    seconds = {
        "arithmetic": flops / num_chips / chip.flops_per_s,
        "memory traffic": counted.bytes_accessed / chip.hbm_bytes_per_s,
        MESSAGES: sum(found["seconds"] for found in messages.values()),
    }
    bound_by = max(seconds, key=lambda kind: seconds[kind])
    return {
        "bytes_per_image": counted.bytes_accessed / images_per_chip,
        "flops_per_image": flops / batch_size,
        "peak_bytes_per_chip": counted.peak_bytes,
        "memory_per_chip": {
            **memory._asdict(),
            "rest": counted.peak_bytes - memory.state - memory.graph,
        },
        "fits": counted.peak_bytes <= chip.hbm_bytes,
        "largest_batch_per_chip": program_memory.largest_batch(
            memory_bytes=chip.hbm_bytes,
            batch_size=images_per_chip,
            peak_bytes=counted.peak_bytes,
            state_bytes=memory.state,
        ),
        "largest_batch_how": "extrapolated from this batch",
        "seconds": seconds,
        "step_s_bound": seconds[bound_by],
        "images_per_s_bound": batch_size / seconds[bound_by],
        "bound_by": bound_by,
        "collectives": messages,
    }


def does_not_fit(*, flops: float, batch_size: int, reason: str) -> dict[str, Any]:
    """Returns the same keys where a compiler gave up for want of memory."""
    return {
        "bytes_per_image": None,
        "flops_per_image": flops / batch_size,
        "peak_bytes_per_chip": None,
        "memory_per_chip": None,
        "fits": False,
        "largest_batch_per_chip": None,
        "largest_batch_how": None,
        "seconds": None,
        "step_s_bound": None,
        "images_per_s_bound": None,
        "bound_by": reason,
        "collectives": {},
    }


def hours(
    step_s: float, *, batch_size: int, num_examples: int, num_epochs: int
) -> dict[str, float]:
    """Returns how long an epoch and the whole run take, with steps of `step_s`."""
    passes = epochs.Epochs(num_examples=num_examples, batch_size=batch_size)
    return {
        "hours_per_epoch_bound": passes.steps_per_epoch * step_s / 3600,
        "hours_bound": passes.first_step(num_epochs) * step_s / 3600,
    }


def _by_kind(
    found: tuple[collectives.Collective, ...], topology: chips.Topology
) -> dict[str, dict[str, Any]]:
    """Returns kind -> how many there are in a step, their bytes and least seconds."""
    kinds: dict[str, dict[str, Any]] = {}
    for collective in found:
        of_kind = kinds.setdefault(
            collective.kind, {"count": 0, "bytes": 0, "seconds": 0.0}
        )
        of_kind["count"] += 1
        of_kind["bytes"] += collective.num_bytes
        of_kind["seconds"] += collectives.seconds(collective, topology)
    return kinds
