"""Config + topology -> what a train step costs there, and what it is bound by."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from mlgcn_jax.data import config_dict
from mlgcn_jax.graph import label_graph
from mlgcn_jax.models import target_platform
from mlgcn_jax.planning import chips, costs
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import train_state
from mlgcn_jax.training import config_ranges, optimizer, train_step

MAX_EDGES_PER_LABEL = 40  # assumed; fewer labels are assumed to be all linked

Plan = dict[str, Any]


def make_plan(
    config: config_dict.ConfigDict,
    topology: chips.Topology,
    mesh: Mesh,
    *,
    num_labels: int,
) -> Plan:
    """Compiles the train step of a config and returns its costs, as JSON has them.

    Bytes, FLOPs and memory are counted by the compiler, not measured. The bound on the
    images per second is the roofline: no step is faster than its arithmetic at the
    chip's peak, or its bytes at the full bandwidth of its memory. Messages between
    chips are counted, but not in the bound.

    Args:
        config: of a run; `batch_size` images over all chips, as in training.
        topology: the chips.
        mesh: `devices.create_mesh(topology)`.
        num_labels: of the dataset that is to be trained on.

    Raises:
        ValueError: a number of the config is out of range, or the chips cannot share
            the batch evenly.
        jax.errors.JaxRuntimeError: the step cannot be compiled for these chips.
    """
    config_ranges.check_numbers(config)
    meshes.check_batch_size(config.batch_size, mesh)
    lowered, state = _lower(config, topology.chip, mesh, num_labels)
    # Without a GPU nothing can be timed, so the variants of a kernel are not tried.
    options = {"xla_gpu_autotune_level": 0} if topology.chip.platform == "gpu" else None
    counted = costs.of_compiled(lowered.compile(compiler_options=options))
    return {
        **_bound(
            topology,
            batch_size=config.batch_size,
            flops=costs.count_flops(lowered),
            counted=counted,
            state_bytes=sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state)),
        ),
        "collectives": counted.collectives,
        "assumptions": {
            "topology": f"{topology.num_chips} {topology.name}",
            "batch_size": config.batch_size,
            "image_size": config.image_size,
            "dtype": config.model.dtype,
            "num_labels": num_labels,
            "num_edges": _num_edges(num_labels),
            "chip_flops_per_s": topology.chip.flops_per_s,
            "chip_hbm_bytes": topology.chip.hbm_bytes,
            "chip_hbm_bytes_per_s": topology.chip.hbm_bytes_per_s,
        },
    }


def _bound(
    topology: chips.Topology,
    *,
    batch_size: int,
    flops: float,
    counted: costs.Costs,
    state_bytes: int,
) -> Plan:
    """The roofline, and what fits; `flops` are those of all chips."""
    chip, num_chips = topology.chip, topology.num_chips
    images_per_chip = batch_size // num_chips
    seconds = {
        "arithmetic": flops / num_chips / chip.flops_per_s,
        "memory traffic": counted.bytes_accessed / chip.hbm_bytes_per_s,
    }
    bound_by = max(seconds, key=lambda kind: seconds[kind])
    # What is not state grows with the images.
    bytes_per_image = (counted.peak_bytes - state_bytes) / images_per_chip
    return {
        "bytes_per_image": counted.bytes_accessed / images_per_chip,
        "flops_per_image": flops / batch_size,
        "peak_bytes_per_chip": counted.peak_bytes,
        "fits": counted.peak_bytes <= chip.hbm_bytes,
        "largest_batch_per_chip": int((chip.hbm_bytes - state_bytes) / bytes_per_image),
        "images_per_s_bound": batch_size / seconds[bound_by],
        "bound_by": bound_by,
    }


def _lower(
    config: config_dict.ConfigDict, chip: chips.Chip, mesh: Mesh, num_labels: int
) -> tuple[jax.stages.Lowered, train_state.TrainState]:
    """The step of `training.train`, from shapes alone; and the shape of its state."""
    # Its numbers change no shape: a schedule of any length will do.
    num_steps = 2 + round(config.optimizer.warmup_epochs)
    schedule = optimizer.create_schedule(config, steps_per_epoch=1, num_steps=num_steps)
    tx = optimizer.create_optimizer(config, schedule, steps_per_epoch=1)
    with target_platform.tracing_for(chip.platform):
        graphdef, _ = train_state.model_structure(config, num_labels=num_labels)
        step = train_step.create_train_step(config, graphdef, tx, schedule, mesh)
        state = jax.eval_shape(
            lambda: train_state.create_train_state(
                config, tx, mesh, num_labels=num_labels
            )
        )
        lowered = step.lower(
            state, _batch(config, num_labels), _graph(config, num_labels)
        )
    return lowered, state


def _batch(
    config: config_dict.ConfigDict, num_labels: int
) -> dict[str, jax.ShapeDtypeStruct]:
    b, size = config.batch_size, config.image_size
    return {
        "image": jax.ShapeDtypeStruct((b, size, size, 3), jnp.uint8),
        "labels": jax.ShapeDtypeStruct((b, num_labels), jnp.float32),
    }


def _graph(config: config_dict.ConfigDict, num_labels: int) -> label_graph.LabelGraph:
    edges = (_num_edges(num_labels),)
    has_embeddings = config.graph.embedding in ("cooccurrence", "file")
    return label_graph.LabelGraph(
        senders=jax.ShapeDtypeStruct(edges, jnp.int32),
        receivers=jax.ShapeDtypeStruct(edges, jnp.int32),
        edge_weights=jax.ShapeDtypeStruct(edges, jnp.float32),
        embeddings=jax.ShapeDtypeStruct(
            (num_labels, config.graph.embedding_dim), jnp.float32
        )
        if has_embeddings
        else None,
    )


def _num_edges(num_labels: int) -> int:
    return num_labels * min(num_labels, MAX_EDGES_PER_LABEL)


def format_plan(plan: Plan) -> str:
    """Returns the plan as a table."""
    assumed = plan["assumptions"]
    fits = "fits" if plan["fits"] else "does not fit"
    rows = [
        (
            "step",
            f"{assumed['batch_size']} images of {assumed['image_size']} px, "
            f"{assumed['dtype']}, on {assumed['topology']}",
        ),
        ("memory traffic", f"{plan['bytes_per_image'] / 1e9:.3f} GB an image"),
        ("arithmetic", f"{plan['flops_per_image'] / 1e9:.1f} GFLOP an image"),
        (
            "peak memory",
            f"{plan['peak_bytes_per_chip'] / 2**30:.2f} GiB of "
            f"{assumed['chip_hbm_bytes'] / 2**30:.0f} a chip: {fits}, and up to about "
            f"{plan['largest_batch_per_chip']} images would",
        ),
        *(
            (kind, f"{num_bytes / 1e6:.1f} MB a step")
            for kind, num_bytes in sorted(plan["collectives"].items())
        ),
        (
            "at most",
            f"{plan['images_per_s_bound']:,.0f} images/s, bound by {plan['bound_by']} "
            f"({assumed['chip_flops_per_s'] / 1e12:.0f} TFLOP/s and "
            f"{assumed['chip_hbm_bytes_per_s'] / 1e12:.2f} TB/s a chip)",
        ),
    ]
    return "\n".join(f"{name:20} {value}" for name, value in rows)
