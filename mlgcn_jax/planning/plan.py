"""Config + topology -> what a train step costs there, and what it is bound by."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from absl import logging
from jax.sharding import Mesh

from mlgcn_jax.data import config_dict
from mlgcn_jax.devices import target_platform
from mlgcn_jax.graph import label_graph
from mlgcn_jax.planning import (
    chips,
    costs,
    dataset_sizes,
    largest_batch,
    roofline,
)
from mlgcn_jax.runs import jax_settings, train_state
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.training import config_ranges, memory, optimizer, train_step

Plan = dict[str, Any]


class _Compiled(NamedTuple):
    """A step that was compiled; without costs and with a reason where it was not."""

    flops: float
    state_bytes: int
    costs: costs.Costs | None
    reason: str = ""


@jax_settings.usable()
def make_plan(
    config: config_dict.ConfigDict,
    topology: chips.Topology,
    mesh: Mesh,
    sizes: dataset_sizes.DatasetSizes,
    *,
    max_compilations: int = 0,
) -> Plan:
    """Compiles the train step of a config and returns its costs, as JSON has them.

    Bytes, FLOPs and memory are counted by the compiler, not measured.

    Args:
        config: of a run; `batch_size` images over all chips, as in training.
        topology: the chips.
        mesh: `devices.create_mesh(topology, label_shards=config.label_shards)`.
        sizes: of the dataset that is to be trained on; the hours are left out where the
            number of its examples is unknown.
        max_compilations: that may be spent on finding the largest batch, beside the one
            of the config's batch; 0: it is extrapolated from that.

    Raises:
        ValueError: a number of the config is out of range, the chips cannot share the
            batch evenly, or there are fewer examples than it takes.
    """
    config_ranges.check_numbers(config)
    meshes.check_batch_size(
        config.batch_size, mesh.size, accumulation_steps=config.accumulation_steps
    )
    num_examples = sizes.num_examples
    if num_examples is not None and num_examples < config.batch_size:
        raise ValueError(
            f"num_examples={num_examples} is less than "
            f"batch_size={config.batch_size}: such a run makes no step; use a smaller "
            "batch"
        )
    compiled = _compile(config, topology, mesh, sizes)
    plan = _estimate(compiled, topology, batch_size=config.batch_size)
    if max_compilations:
        plan |= _find_largest_batch(
            config,
            topology,
            mesh,
            sizes,
            compiled,
            max_compilations=max_compilations,
        )
    if num_examples is not None and plan["step_s_bound"] is not None:
        plan |= roofline.hours(
            plan["step_s_bound"],
            batch_size=config.batch_size,
            num_examples=num_examples,
            num_epochs=config.num_epochs,
        )
    chip = topology.chip
    return {
        **plan,
        "assumptions": {
            "topology": str(topology),
            "num_chips": topology.num_chips,
            "model": f"{config.model.backbone}-{config.model.head}"
            f"-{config.model.pooling}",
            "batch_size": config.batch_size,
            "image_size": config.image_size,
            "dtype": config.model.dtype,
            "num_labels": sizes.num_labels,
            "num_edges": sizes.num_edges,
            "edges_from": sizes.edges_from,
            "num_examples": num_examples,
            "num_epochs": config.num_epochs,
            "chip_flops_per_s": chip.flops_per_s,
            "chip_hbm_bytes": chip.hbm_bytes,
            "chip_hbm_bytes_per_s": chip.hbm_bytes_per_s,
            "chip_link_bytes_per_s": chip.link_bytes_per_s,
            "chip_network_bytes_per_s": chip.network_bytes_per_s,
            "bytes_counted_by": "XLA's analysis"
            if chip.platform == "gpu"
            else "the compiler",
        },
    }


def _compile(
    config: config_dict.ConfigDict,
    topology: chips.Topology,
    mesh: Mesh,
    sizes: dataset_sizes.DatasetSizes,
) -> _Compiled:
    lowered, state = lower(config, topology, mesh, sizes)
    flops = costs.count_flops(lowered)
    state_bytes = memory.bytes_of(state)
    # Without a GPU nothing can be timed, so the variants of a kernel are not tried.
    options: Any = (
        {"xla_gpu_autotune_level": 0} if topology.chip.platform == "gpu" else None
    )
    try:
        compiled = lowered.compile(compiler_options=options)
    except jax.errors.JaxRuntimeError as error:
        if not str(error).startswith("RESOURCE_EXHAUSTED"):
            raise
        return _Compiled(flops, state_bytes, None, str(error).split("\n")[0])
    return _Compiled(flops, state_bytes, costs.of_compiled(compiled))


def _estimate(
    compiled: _Compiled, topology: chips.Topology, *, batch_size: int
) -> Plan:
    if compiled.costs is None:
        return roofline.does_not_fit(
            flops=compiled.flops, batch_size=batch_size, reason=compiled.reason
        )
    return roofline.estimate(
        topology,
        compiled.costs,
        flops=compiled.flops,
        state_bytes=compiled.state_bytes,
        batch_size=batch_size,
    )


def _find_largest_batch(
    config: config_dict.ConfigDict,
    topology: chips.Topology,
    mesh: Mesh,
    sizes: dataset_sizes.DatasetSizes,
    first: _Compiled,
    *,
    max_compilations: int,
) -> Plan:
    # Micro-batches have the same number of images, so all of them get one more.
    parts = config.accumulation_steps

    def peak_bytes(images_per_part: int) -> int | None:
        images_per_chip = images_per_part * parts
        larger = config.copy_and_resolve_references()
        larger.batch_size = images_per_chip * topology.num_chips
        compiled = _compile(larger, topology, mesh, sizes)
        peak = None if compiled.costs is None else compiled.costs.peak_bytes
        logging.info(
            "%d images a chip: %s",
            images_per_chip,
            compiled.reason if peak is None else f"{peak / 2**30:.2f} GiB",
        )
        return peak

    images_per_part = config.batch_size // topology.num_chips // parts
    found = largest_batch.search(
        peak_bytes,
        known={
            0: first.state_bytes,
            images_per_part: None if first.costs is None else first.costs.peak_bytes,
        },
        memory_bytes=topology.chip.hbm_bytes,
        max_compilations=max_compilations,
    )
    if found.is_exact:
        limit = f"{parts} more do not" if parts > 1 else "one image more does not"
    elif found.too_many is None:
        limit = "how many do not was not found"
    else:
        limit = f"{found.too_many * parts:,} do not"
    how = f"it fits and {limit}, in {found.compilations} more compilations"
    return {"largest_batch_per_chip": found.fits * parts, "largest_batch_how": how}


def lower(
    config: config_dict.ConfigDict,
    topology: chips.Topology,
    mesh: Mesh,
    sizes: dataset_sizes.DatasetSizes,
) -> tuple[jax.stages.Lowered, train_state.TrainState]:
    """Returns the step of `training.train`, and the shapes of its state."""
    num_labels = sizes.num_labels
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
        lowered = step.lower(state, _batch(config, num_labels), _graph(config, sizes))
    return lowered, state


def _batch(
    config: config_dict.ConfigDict, num_labels: int
) -> dict[str, jax.ShapeDtypeStruct]:
    b, size = config.batch_size, config.image_size
    return {
        "image": jax.ShapeDtypeStruct((b, size, size, 3), jnp.uint8),
        "labels": jax.ShapeDtypeStruct((b, num_labels), jnp.float32),
    }


def _graph(
    config: config_dict.ConfigDict, sizes: dataset_sizes.DatasetSizes
) -> label_graph.LabelGraph:
    """Returns the shapes of a graph, in the place of its arrays."""
    edges = (sizes.num_edges,)
    has_embeddings = config.graph.embedding in ("cooccurrence", "file")
    nodes = (sizes.num_labels, config.graph.embedding_dim)
    parts: dict[str, Any] = {
        "senders": jax.ShapeDtypeStruct(edges, jnp.int32),
        "receivers": jax.ShapeDtypeStruct(edges, jnp.int32),
        "edge_weights": jax.ShapeDtypeStruct(edges, jnp.float32),
        "by_sender": jax.ShapeDtypeStruct(edges, jnp.int32),
        "embeddings": jax.ShapeDtypeStruct(nodes, jnp.float32)
        if has_embeddings
        else None,
    }
    return label_graph.LabelGraph(**parts)
