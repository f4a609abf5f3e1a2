"""What contestants took -> a row of figures, and rows as text."""

from collections.abc import Mapping
from typing import Any

from mlgcn_jax.benchmarks import race
from mlgcn_jax.planning import chips

Row = dict[str, Any]
Results = Mapping[str, race.Result]

_GIB = 2**30


def seconds(results: Results) -> Row:
    """Returns `NAME_s` of each contestant; what those of the others are to ours.

    `ratio` is PyTorch's seconds over ours, `NAME_ratio` those of a third. Where the
    work is so many images (`images`), `NAME_images_per_s`; where that is another number
    for each, it too, and ratios are those of an image. Where the device counts its
    memory, `NAME_peak_gib`.
    """
    row: Row = {f"{name}_s": result.seconds for name, result in results.items()}
    images = {n: result.facts.get("images", 1) for n, result in results.items()}
    if len(set(images.values())) > 1:
        row |= {f"{name}_images": number for name, number in images.items()}
    per_image = {n: row[f"{n}_s"] / images[n] for n in results}
    for name in sorted(results.keys() - {"jax"}):
        key = "ratio" if name == "torch" else f"{name}_ratio"
        row[key] = per_image[name] / per_image["jax"]
    if "images" in results["jax"].facts:
        row |= {f"{name}_images_per_s": 1 / per_image[name] for name in results}
    for name, result in results.items():
        if "peak_bytes" in result.facts:
            row[f"{name}_peak_gib"] = result.facts["peak_bytes"] / _GIB
    return row


def of_train_step(results: Results) -> Row:
    """`seconds`, and beside what was measured what `mlgcn plan` says of our step.

    `planned_s` is the least that the chip's published peaks allow; there is none where
    it is not of `planning.chips`.
    """
    row, facts = seconds(results), results["jax"].facts
    if "peak_bytes" in facts:
        row["planned_peak_gib"] = facts["planned_peak_bytes"] / _GIB
    chip = chips.of_device(facts["device"])
    if chip is not None:
        row["planned_s"] = max(
            facts["flops"] / chip.flops_per_s,
            facts["bytes_accessed"] / chip.hbm_bytes_per_s,
        )
    return row


def compare_input(of_input: list[Row], of_steps: list[Row]) -> None:
    """Says beside the input's images a second how many the quickest step takes."""
    rates = [row["jax_images_per_s"] for row in of_steps if "jax_images_per_s" in row]
    for row in of_input if rates else []:
        row["step_images_per_s"] = max(rates)


def use_of_device(results: Results) -> Row:
    """Arithmetic and bytes a second, as XLA counts them, and where the time goes.

    Shares are of the published peaks, where the device is one of `planning.chips`.
    """
    taken_s, facts = results["jax"].seconds, results["jax"].facts
    row: Row = {
        "jax_s": taken_s,
        "tflop_per_s": facts["flops"] / taken_s / 1e12,
        "gb_per_s": facts["bytes_accessed"] / taken_s / 1e9,
    }
    chip = chips.of_device(facts["device"])
    if chip is not None:
        row["share_of_flops"] = facts["flops"] / taken_s / chip.flops_per_s
        row["share_of_bytes"] = facts["bytes_accessed"] / taken_s / chip.hbm_bytes_per_s
    return {**row, "kernels": facts["kernels"]}


def compilation(results: Results) -> Row:
    """Seconds to the first program: ours cold and from the cache, PyTorch's."""
    jax = results["jax"].facts
    row: Row = {"jax_s": jax["cold_s"], "jax_cached_s": jax["warm_s"]}
    if "torch" in results:
        row["torch_s"] = results["torch"].facts["cold_s"]
        row["ratio"] = row["torch_s"] / row["jax_s"]
    return row


def host_time(results: Results) -> Row:
    """Seconds that the host needs to start a step."""
    return {"jax_s": results["jax"].facts["host_s"]}


def whole_run(results: Results) -> Row:
    """Seconds to the threshold from the process's start, and without any start."""
    row: Row = {}
    for name, result in results.items():
        facts = result.facts
        to_threshold_s = facts["to_threshold_s"]
        imports_s = result.ready_s - facts["total_s"]
        reached = to_threshold_s is not None
        row[f"{name}_s"] = imports_s + to_threshold_s if reached else None
        row[f"{name}_started_s"] = (
            to_threshold_s - facts["start_s"] if reached else None
        )
        row[f"{name}_total_s"] = result.ready_s
        row[f"{name}_mAP"] = facts["mAP"]
    if row["jax_s"] is not None and row.get("torch_s") is not None:
        row["ratio"] = row["torch_s"] / row["jax_s"]
        row["started_ratio"] = row["torch_started_s"] / row["jax_started_s"]
    return row


def format_table(title: str, rows: list[Row]) -> str:
    """Returns rows as text, what failed and kernels in lines of their own."""
    if not rows:
        return f"{title}\nnothing: there was no time"
    columns = list(dict.fromkeys(name for row in rows for name in row))
    columns = [name for name in columns if name not in ("kernels", "failed")]
    cells = [columns, *([format_cell(row.get(c)) for c in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in cells
    ]
    lines += [
        f"{row['case']} failed: {row['failed']}" for row in rows if "failed" in row
    ]
    for kernel in (kernel for row in rows for kernel in row.get("kernels", [])):
        lines.append(f"{kernel['share']:6.1%} {kernel['count']:5}x  {kernel['name']}")
    return "\n".join([title, *lines])


def format_cell(value: Any) -> str:
    """Returns a figure in four digits; nothing where there is none."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
