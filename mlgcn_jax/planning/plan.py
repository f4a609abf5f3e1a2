"""Config + topology -> what a train step costs there, and what it is bound by."""

from typing import Any

from absl import logging
from jax.sharding import Mesh

from mlgcn_jax.data import config_dict
from mlgcn_jax.planning import (
    chips,
    dataset_sizes,
    largest_batch,
    roofline,
    steps,
)
from mlgcn_jax.runs import jax_settings
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.schema import configs

Plan = dict[str, Any]


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
    configs.check_values(config)
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
    compiled = steps.compile_step(config, mesh, sizes)
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


def _estimate(
    compiled: steps.CompiledStep, topology: chips.Topology, *, batch_size: int
) -> Plan:
    if compiled.costs is None:
        return roofline.does_not_fit(
            flops=compiled.flops, batch_size=batch_size, reason=compiled.reason
        )
    return roofline.estimate(
        topology,
        compiled.costs,
        flops=compiled.flops,
        memory=compiled.memory,
        batch_size=batch_size,
    )


def _find_largest_batch(
    config: config_dict.ConfigDict,
    topology: chips.Topology,
    mesh: Mesh,
    sizes: dataset_sizes.DatasetSizes,
    first: steps.CompiledStep,
    *,
    max_compilations: int,
) -> Plan:
    # Micro-batches have the same number of images, so all of them get one more.
    parts = config.accumulation_steps

    def peak_bytes(images_per_part: int) -> int | None:
        images_per_chip = images_per_part * parts
        larger = config.copy_and_resolve_references()
        larger.batch_size = images_per_chip * topology.num_chips
        compiled = steps.compile_step(larger, mesh, sizes)
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
            0: first.memory.state,
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
