"""Config + topology -> what a train step costs there, and what it is bound by."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from mlgcn_jax.data import config_dict
from mlgcn_jax.graph import label_graph
from mlgcn_jax.models import target_platform
from mlgcn_jax.planning import chips, costs, roofline
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

    Bytes, FLOPs and memory are counted by the compiler, not measured.

    Args:
        config: of a run; `batch_size` images over all chips, as in training.
        topology: the chips.
        mesh: `devices.create_mesh(topology, label_shards=config.label_shards)`.
        num_labels: of the dataset that is to be trained on.

    Raises:
        ValueError: a number of the config is out of range, or the chips cannot share
            the batch evenly.
    """
    config_ranges.check_numbers(config)
    meshes.check_batch_size(
        config.batch_size, mesh, accumulation_steps=config.accumulation_steps
    )
    lowered, state = lower(config, topology, mesh, num_labels=num_labels)
    return {
        **_estimate(lowered, state, topology, batch_size=config.batch_size),
        "assumptions": {
            "topology": str(topology),
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


def _estimate(
    lowered: jax.stages.Lowered,
    state: train_state.TrainState,
    topology: chips.Topology,
    *,
    batch_size: int,
) -> Plan:
    flops = costs.count_flops(lowered)
    # Without a GPU nothing can be timed, so the variants of a kernel are not tried.
    options: Any = (
        {"xla_gpu_autotune_level": 0} if topology.chip.platform == "gpu" else None
    )
    try:
        compiled = lowered.compile(compiler_options=options)
    except jax.errors.JaxRuntimeError as error:
        if not str(error).startswith("RESOURCE_EXHAUSTED"):
            raise
        reason = str(error).split("\n")[0]
        return roofline.does_not_fit(flops=flops, batch_size=batch_size, reason=reason)
    return roofline.estimate(
        topology,
        costs.of_compiled(compiled),
        flops=flops,
        state_bytes=sum(
            math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize
            for x in jax.tree.leaves(state)
        ),
        batch_size=batch_size,
    )


def lower(
    config: config_dict.ConfigDict,
    topology: chips.Topology,
    mesh: Mesh,
    *,
    num_labels: int,
) -> tuple[jax.stages.Lowered, train_state.TrainState]:
    """Returns the step of `training.train`, and the shapes of its state."""
    # Its numbers change no shape: a schedule of any length will do.
    num_steps = 2 + round(config.optimizer.warmup_epochs)
    schedule = optimizer.create_schedule(config, steps_per_epoch=1, num_steps=num_steps)
    tx = optimizer.create_optimizer(config, schedule, steps_per_epoch=1)
    with target_platform.tracing_for(topology.chip.platform):
        graphdef, _ = train_state.model_structure(config, num_labels=num_labels)
        step = train_step.create_train_step(
            config, graphdef, tx, schedule, mesh, num_labels=num_labels
        )
        state = train_state.abstract_train_state(
            config, tx, mesh, num_labels=num_labels
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
    """Returns the shapes of a graph, in the place of its arrays."""
    edges = (_num_edges(num_labels),)
    has_embeddings = config.graph.embedding in ("cooccurrence", "file")
    nodes = (num_labels, config.graph.embedding_dim)
    parts: dict[str, Any] = {
        "senders": jax.ShapeDtypeStruct(edges, jnp.int32),
        "receivers": jax.ShapeDtypeStruct(edges, jnp.int32),
        "edge_weights": jax.ShapeDtypeStruct(edges, jnp.float32),
        "embeddings": jax.ShapeDtypeStruct(nodes, jnp.float32)
        if has_embeddings
        else None,
    }
    return label_graph.LabelGraph(**parts)


def _num_edges(num_labels: int) -> int:
    return num_labels * min(num_labels, MAX_EDGES_PER_LABEL)


def format_plan(plan: Plan) -> str:
    """Returns the plan as a table."""
    assumed = plan["assumptions"]
    memory = f"{assumed['chip_hbm_bytes'] / 2**30:.0f} GiB a chip"
    rows = {
        "step": f"{assumed['batch_size']} images of {assumed['image_size']} px, "
        f"{assumed['dtype']}, on {assumed['topology']}",
        "arithmetic": f"{plan['flops_per_image'] / 1e9:.2f} GFLOP an image",
    }
    if plan["bytes_per_image"] is None:
        rows["peak memory"] = f"more than {memory}: {plan['bound_by']}"
    else:
        fits = "fits" if plan["fits"] else "does not fit"
        rows |= {
            "memory traffic": f"{plan['bytes_per_image'] / 1e9:.3f} GB an image",
            "peak memory": f"{plan['peak_bytes_per_chip'] / 2**30:.2f} of {memory} "
            f"({fits}; about {plan['largest_batch_per_chip']} images would)",
            **{
                kind: f"{num_bytes / 1e6:.2f} MB a step"
                for kind, num_bytes in sorted(plan["collectives"].items())
            },
            "at most": f"{plan['images_per_s_bound']:,.0f} images/s, bound by "
            f"{plan['bound_by']} ({assumed['chip_flops_per_s'] / 1e12:.0f} TFLOP/s, "
            f"{assumed['chip_hbm_bytes_per_s'] / 1e12:.2f} TB/s a chip)",
        }
    return "\n".join(f"{name:15} {value}" for name, value in rows.items())
