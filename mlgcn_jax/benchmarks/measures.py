"""The measures: who takes part in each, with which cases, and the rows they give."""

import os
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from absl import logging

from mlgcn_jax.benchmarks import race, whole_run
from mlgcn_jax.planning import chips

Row = dict[str, Any]

# Without these glibc hands memory back after every step and asks for it again: the
# same step of PyTorch was seen at 0.4 s and at 8 s.
_KEEP_MEMORY = {
    "MALLOC_TOP_PAD_": "2000000000",
    "MALLOC_MMAP_THRESHOLD_": "1000000000",
    "MALLOC_TRIM_THRESHOLD_": "4000000000",
}
_JAX = race.Contestant("jax_tasks", {})
_TORCH = race.Contestant("torch_tasks", _KEEP_MEMORY)
_ONNX = race.Contestant("onnx_tasks", _KEEP_MEMORY)
_DECODE = race.Contestant("decode_tasks", {})


class _Measure(NamedTuple):
    title: str
    contestants: Mapping[str, race.Contestant]
    cases: Mapping[str, Mapping[str, Any]]
    rounds: int
    needs_folder: bool = False


# One GPU holds all contestants: none takes it all, and what it holds is what it needs.
_ON_GPU = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
_JAX_ON_GPU = race.Contestant("jax_tasks", _ON_GPU)
_ALL_ON_GPU = {
    "jax": _JAX_ON_GPU,
    "torch": race.Contestant("torch_tasks", {}),
    "torch_compiled": race.Contestant("torch_compiled_tasks", {}),
}


def _images(*sizes: tuple[int, int], **more: str) -> dict[str, dict[str, int | str]]:
    return {
        f"{batch}x{side}": {"batch_size": batch, "image_size": side, **more}
        for batch, side in sizes
    }


def _bfloat16(*batches: int) -> dict[str, dict[str, int | str]]:
    return _images(*((batch, 512) for batch in batches), dtype="bfloat16")


_BOTH = {"jax": _JAX, "torch": _TORCH}
_MEASURES = {
    "T": _Measure(
        "train step: batch x pixels", _BOTH, _images((8, 128), (32, 64)), rounds=9
    ),
    "I": _Measure(
        "inference: batch x pixels",
        {**_BOTH, "onnx": _ONNX},
        _images((1, 224), (32, 224), (1, 512), (8, 512)),
        rounds=9,
    ),
    "P": _Measure(
        "input pipeline, one pass over a split",
        {**_BOTH, "decode": _DECODE},
        {"512 px": {"batch_size": 32, "image_size": 512}},
        rounds=9,
        needs_folder=True,
    ),
    "C": _Measure("compilation of the train step", _BOTH, _images((8, 128)), rounds=1),
    "G": _Measure(
        "graph head, forward and gradient: labels",
        _BOTH,
        {str(n): {"num_labels": n} for n in (40, 2_000, 20_000)},
        rounds=5,
    ),
    "R": _Measure(
        "whole run of the quick start, to a validation mAP",
        {
            "jax": race.Contestant("jax_whole_run", {}),
            "torch": race.Contestant("torch_whole_run", _KEEP_MEMORY),
        },
        {f"mAP {whole_run.THRESHOLD_MAP}": {"threshold_map": whole_run.THRESHOLD_MAP}},
        rounds=1,
        needs_folder=True,
    ),
    "H": _Measure("host time of a step", {"jax": _JAX}, _images((8, 32)), rounds=1),
    "U": _Measure(
        "use of the device in a train step", {"jax": _JAX}, _images((8, 128)), rounds=5
    ),
}
_NUM_CORES = len(os.sched_getaffinity(0))
# What a GPU is asked instead: the paper's pictures, in bfloat16, read by all cores.
_MEASURES_ON_GPU = {
    "T": _MEASURES["T"]._replace(contestants=_ALL_ON_GPU, cases=_bfloat16(32, 64, 128)),
    "I": _MEASURES["I"]._replace(contestants=_ALL_ON_GPU, cases=_bfloat16(1, 32, 128)),
    "P": _MEASURES["P"]._replace(
        cases={
            f"512 px, {_NUM_CORES} threads": {
                "batch_size": 32,
                "image_size": 512,
                "num_threads": _NUM_CORES,
            }
        }
    ),
    "H": _MEASURES["H"]._replace(contestants={"jax": _JAX_ON_GPU}),
    "U": _MEASURES["U"]._replace(contestants={"jax": _JAX_ON_GPU}, cases=_bfloat16(32)),
}
MEASURES = tuple(_MEASURES)
SLOW_MEASURES = ("R",)  # that take more than ten minutes


def run(
    measure: str,
    *,
    folder: pathlib.Path | None,
    on_gpu: bool = False,
    deadline: float = float("inf"),
) -> list[Row]:
    """Returns a row for each case: `case`, `jax_s`, `torch_s` and their `ratio`.

    Of a third contestant it has `NAME_s` and `NAME_ratio`, its seconds over ours.

    Seconds are medians of rounds in which the contestants take turns; a ratio above 1
    says that we are faster.

    Args:
        measure: one of `MEASURES`.
        folder: where the dataset lies that P reads, or what `whole_run.prepare` wrote
            for R; the others need none.
        on_gpu: ask what a GPU is asked; contestants find it by themselves.
        deadline: of `time.monotonic()`; a case that it comes before is left out.

    Raises:
        ValueError: a contestant failed, for want of the `torch` extra for example.
    """
    rows = []
    chosen = _chosen(measure, on_gpu=on_gpu)
    for name, case in chosen.cases.items():
        if time.monotonic() > deadline:
            logging.warning("%s, %s: left out for want of time", measure, name)
            continue
        logging.info("%s (%s), %s", measure, chosen.title, name)
        if chosen.needs_folder:
            case = {**case, "folder": str(folder)}
        results = race.race(chosen.contestants, measure, case, rounds=chosen.rounds)
        row = {"case": name, **_FIGURES.get(measure, _seconds)(results)}
        logging.info(", ".join(f"{key} {_cell(value)}" for key, value in row.items()))
        rows.append(row)
    return rows


def format_table(measure: str, rows: list[Row]) -> str:
    """Returns the rows of a measure as text, kernels in lines of their own."""
    title = f"{measure}: {_MEASURES[measure].title}"
    if not rows:
        return f"{title}\nnothing: there was no time"
    columns = [name for name in rows[0] if name != "kernels"]
    cells = [columns, *([_cell(row[column]) for column in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in cells
    ]
    for kernel in (kernel for row in rows for kernel in row.get("kernels", [])):
        lines.append(f"{kernel['share']:6.1%} {kernel['count']:5}x  {kernel['name']}")
    return "\n".join([title, *lines])


def _chosen(measure: str, *, on_gpu: bool) -> _Measure:
    return (on_gpu and _MEASURES_ON_GPU.get(measure)) or _MEASURES[measure]


def _seconds(results: Mapping[str, race.Result]) -> Row:
    row: Row = {f"{name}_s": result.seconds for name, result in results.items()}
    row["ratio"] = row["torch_s"] / row["jax_s"]
    for name in sorted(results.keys() - {"jax", "torch"}):
        row[f"{name}_ratio"] = row[f"{name}_s"] / row["jax_s"]
    for name, result in results.items():
        if "peak_bytes" in result.facts:
            row[f"{name}_peak_gib"] = result.facts["peak_bytes"] / 2**30
    if "peak_bytes" in results["jax"].facts and "flops" in results["jax"].facts:
        row["planned_peak_gib"] = results["jax"].facts["planned_peak_bytes"] / 2**30
    return row


def use_of_device(results: Mapping[str, race.Result]) -> Row:
    """Arithmetic and bytes a second, as XLA counts them, and where the time goes.

    Shares are of the published peaks, where the device is one of `planning.chips`.
    """
    seconds, facts = results["jax"].seconds, results["jax"].facts
    row: Row = {
        "jax_s": seconds,
        "tflop_per_s": facts["flops"] / seconds / 1e12,
        "gb_per_s": facts["bytes_accessed"] / seconds / 1e9,
    }
    name = str(facts["device"]).lower()
    for chip in (chip for known, chip in chips.CHIPS.items() if known in name):
        row["share_of_flops"] = facts["flops"] / seconds / chip.flops_per_s
        row["share_of_bytes"] = facts["bytes_accessed"] / seconds / chip.hbm_bytes_per_s
    return {**row, "kernels": facts["kernels"]}


def _compilation(results: Mapping[str, race.Result]) -> Row:
    jax, torch = results["jax"].facts, results["torch"].facts
    return {
        "jax_s": jax["cold_s"],
        "jax_cached_s": jax["warm_s"],
        "torch_s": torch["cold_s"],
        "ratio": torch["cold_s"] / jax["cold_s"],
    }


def _host_time(results: Mapping[str, race.Result]) -> Row:
    return {"jax_s": results["jax"].facts["host_s"]}


def whole_run_row(results: Mapping[str, race.Result]) -> Row:
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
    if row["jax_s"] is not None and row["torch_s"] is not None:
        row["ratio"] = row["torch_s"] / row["jax_s"]
        row["started_ratio"] = row["torch_started_s"] / row["jax_started_s"]
    return row


_FIGURES: dict[str, Callable[[Mapping[str, race.Result]], Row]] = {
    "C": _compilation,
    "H": _host_time,
    "R": whole_run_row,
    "U": use_of_device,
}


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
