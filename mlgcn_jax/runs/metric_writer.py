"""The curves of a run: JSON lines, and the same numbers for TensorBoard."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import tensorboardX

from mlgcn_jax.data import files
from mlgcn_jax.runs import run_folder


class MetricWriter:
    """Appends scalars to `metrics.jsonl` and to TensorBoard's event files."""

    def __init__(self, folder: run_folder.RunFolder, *, step: int):
        """Opens the files; what was written after `step` is dropped.

        Such lines are left where a run was killed after its last checkpoint: the
        resumed run writes them again.
        """
        _keep_up_to(folder, step)
        self._lines = folder.metrics_log.open("a", encoding="utf-8")
        self._events = tensorboardX.SummaryWriter(
            str(folder.tensorboard), purge_step=step + 1
        )

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Writes scalars of one step; nested mappings become names like a/b."""
        flat = {name: value for name, value in _flatten(metrics) if value is not None}
        self._lines.write(json.dumps({"step": step, **flat}) + "\n")
        self._lines.flush()
        for name, value in flat.items():
            self._events.add_scalar(name, value, step)

    def close(self) -> None:
        """Writes out what is still held back."""
        self._lines.close()
        self._events.close()


def _flatten(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}/")
        else:
            yield prefix + name, value


def _keep_up_to(folder: run_folder.RunFolder, step: int) -> None:
    if not folder.metrics_log.exists():
        return
    kept = []
    for line in folder.metrics_log.read_text(encoding="utf-8").splitlines(True):
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except ValueError:  # the line that a killed run was writing
            continue
    with files.written_whole(folder.metrics_log) as temporary:
        temporary.write_text("".join(kept), encoding="utf-8")
