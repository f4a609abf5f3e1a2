"""A plan as a table for people."""

from typing import Any

from mlgcn_jax.planning import roofline

_GIB = 2**30


def format_plan(plan: dict[str, Any]) -> str:
    """Returns the plan, with what was assumed."""
    assumed = plan["assumptions"]
    return "\n".join(
        [
            f"{assumed['model']}, {assumed['num_labels']} labels, "
            f"{assumed['image_size']} px, {assumed['dtype']}: a train step of "
            f"{assumed['batch_size']:,} images on {assumed['topology']} "
            f"({assumed['batch_size'] // assumed['num_chips']} a chip)",
            "",
            *(_costs(plan) if plan["seconds"] else _gave_up(plan)),
        ]
    )


def _gave_up(plan: dict[str, Any]) -> list[str]:
    memory = plan["assumptions"]["chip_hbm_bytes"] / _GIB
    rows = {
        "arithmetic": f"{plan['flops_per_image'] / 1e9:.2f} GFLOP an image",
        "peak memory": f"more than {memory:.0f} GiB a chip: {plan['bound_by']}",
    }
    if plan["largest_batch_per_chip"] is not None:
        rows["largest batch"] = _largest_batch(plan)
    return [f"{name:15} {value}" for name, value in rows.items()]


def _costs(plan: dict[str, Any]) -> list[str]:
    assumed = plan["assumptions"]
    images_per_chip = assumed["batch_size"] // assumed["num_chips"]
    parts = {
        "arithmetic": (
            f"{plan['flops_per_image'] / 1e9:.2f} GFLOP an image",
            f"{assumed['chip_flops_per_s'] / 1e12:.0f} TFLOP/s",
        ),
        "memory traffic": (
            f"{plan['bytes_per_image'] / 1e9:.3f} GB an image",
            f"{assumed['chip_hbm_bytes_per_s'] / 1e9:,.0f} GB/s",
        ),
        roofline.MESSAGES: (
            f"{sum(x['bytes'] for x in plan['collectives'].values()) / 1e6:,.2f} MB",
            _links(assumed),
        ),
    }
    lines = [f"{'':15} {'a step':>20}   {'peak of a chip':16} {'at least':>12}"]
    for name, (amount, peak) in parts.items():
        mark = "  <- bound" if name == plan["bound_by"] else ""
        time = _milliseconds(plan["seconds"][name])
        lines.append(f"{name:15} {amount:>20}   {peak:16} {time:>12}{mark}")
    for kind, found in sorted(plan["collectives"].items()):
        amount = f"{found['bytes'] / 1e6:,.2f} MB"
        time = _milliseconds(found["seconds"])
        lines.append(f"  {found['count']:,} {kind}".ljust(26) + f"{amount:>10}")
        lines[-1] += f"   {'':16} {time:>12}"
    fits = "fits" if plan["fits"] else "does not fit"
    lines += [
        "",
        f"{'peak memory':15} {plan['peak_bytes_per_chip'] / _GIB:.2f} of "
        f"{assumed['chip_hbm_bytes'] / _GIB:.0f} GiB a chip, {images_per_chip} images: "
        f"{fits}",
        f"{'':15} {_parts(plan['memory_per_chip'])}",
        f"{'largest batch':15} {_largest_batch(plan)}",
        f"{'speed':15} at most {plan['images_per_s_bound']:,.0f} images/s, bound by "
        f"{plan['bound_by']}",
    ]
    if "hours_bound" in plan:
        epoch, run = plan["hours_per_epoch_bound"], plan["hours_bound"]
        lines.append(
            f"{'time':15} at least {_duration(epoch)} an epoch of "
            f"{assumed['num_examples']:,} images, {_duration(run)} for "
            f"{assumed['num_epochs']:g} epochs"
        )
    return [*lines, *_assumptions(plan)]


def _parts(memory: dict[str, int]) -> str:
    """Returns what the memory is for."""
    gib = {name: f"{size / _GIB:.2f}" for name, size in memory.items()}
    return (
        f"parameters {gib['parameters']}, optimiser {gib['optimizer']}, label graph "
        f"{gib['graph']}, batch and temporaries {gib['rest']} GiB (the head alone "
        f"{gib['head_temporaries']})"
    )


def _links(assumed: dict[str, Any]) -> str:
    links = f"{assumed['chip_link_bytes_per_s'] / 1e9:.0f}"
    network = assumed["chip_network_bytes_per_s"]
    return f"{links} GB/s" if network is None else f"{links} / {network / 1e9:.0f} GB/s"


def _largest_batch(plan: dict[str, Any]) -> str:
    images = plan["largest_batch_per_chip"]
    return f"{images:,} images a chip ({plan['largest_batch_how']})"


def _assumptions(plan: dict[str, Any]) -> list[str]:
    assumed = plan["assumptions"]
    counted = (
        "bytes and memory as the compiler for the chip counts them"
        if assumed["bytes_counted_by"] == "the compiler"
        else "memory as the compiler counts it, bytes as XLA does, without the results "
        "of cuDNN"
    )
    links = "of all links of a chip one way"
    if assumed["chip_network_bytes_per_s"] is not None:
        links += " / of its network card between hosts"
    num_messages = sum(found["count"] for found in plan["collectives"].values())
    if num_messages:
        links += (
            f",\n{'':15} without latency: 10 µs for each of the {num_messages} would "
            f"add {_milliseconds(1e-5 * num_messages)}"
        )
    return [
        "",
        f"{'assumed':15} compiled, not run: {counted}",
        f"{'':15} all three parts at their published peaks at the same time",
        f"{'':15} messages at the bandwidth {links}",
        f"{'':15} {assumed['num_edges']:,} edges in the label graph "
        f"({assumed['edges_from']}); input is never waited for",
    ]


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.3f} ms"


def _duration(hours: float) -> str:
    for unit, name in ((1.0, "hours"), (1 / 60, "minutes")):
        if hours >= unit:
            return f"{hours / unit:.1f} {name}"
    return f"{3600 * hours:.2g} s"
