"""The curves of a run: JSON lines, and the same numbers for TensorBoard.

The first of the run's processes writes them; the others know what it has written.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import tensorboardX

from mlgcn_jax.data import files
from mlgcn_jax.runs import processes, run_folder

_VALIDATION = "validation"
_MAP = "validation/mAP"


class MetricWriter:
    """Appends scalars to `metrics.jsonl` and to TensorBoard's event files.

    Attributes:
        last_validated: the newest step that has a validation; 0 where none has.
    """

    def __init__(self, folder: run_folder.RunFolder, *, step: int):
        """Opens the files; what was written after `step` is dropped.

        Such lines are left where a run was killed after its last checkpoint: the
        resumed run writes them again.
        """
        kept = _keep_up_to(folder, step) if processes.is_first() else []
        validated = [
            line["step"]
            for line in kept
            if any(name.startswith(_VALIDATION) for name in line)
        ]
        self.last_validated = processes.agree(max(validated, default=0))
        self._maps: dict[int, float] = {}  # in the order of the steps
        for line in kept:
            self._note_map(line["step"], line.get(_MAP))
        if processes.is_first():
            self._lines = folder.metrics_log.open("a", encoding="utf-8")
            self._events = tensorboardX.SummaryWriter(
                str(folder.tensorboard), purge_step=step + 1
            )

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Writes scalars of one step; nested mappings become names like a/b."""
        if _VALIDATION in metrics:
            self.last_validated = step
        if not processes.is_first():
            return
        flat = {name: value for name, value in _flatten(metrics) if value is not None}
        self._note_map(step, flat.get(_MAP))
        self._lines.write(json.dumps({"step": step, **flat}) + "\n")
        self._lines.flush()
        for name, value in flat.items():
            self._events.add_scalar(name, value, step)

    def best_validated(self, steps: Collection[int] | None = None) -> int:
        """Returns the step with the best validation mAP, the first of equals.

        Every process gets what the first one knows; 0 where there is no such step.

        Args:
            steps: of which one is wanted; None: any.
        """
        known = [step for step in self._maps if steps is None or step in steps]
        best = max(known, key=self._maps.__getitem__, default=0)
        return processes.agree(best)

    def _note_map(self, step: int, value: float | None) -> None:
        if value is not None:
            self._maps[step] = value

    def close(self) -> None:
        """Writes out what is still held back."""
        if processes.is_first():
            self._lines.close()
            self._events.close()


def _flatten(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}/")
        else:
            yield prefix + name, value


def _keep_up_to(folder: run_folder.RunFolder, step: int) -> list[dict[str, Any]]:
    """Drops the lines after `step`; returns those that stay."""
    if not folder.metrics_log.exists():
        return []
    kept = []
    text = folder.metrics_log.read_text(encoding="utf-8", errors="replace")
    for line in text.splitlines():
        try:
            content = json.loads(line)
            if content["step"] <= step:
                kept.append(content)
        except (ValueError, TypeError, KeyError):  # a killed run was writing it
            continue
    with files.written_whole(folder.metrics_log) as temporary:
        temporary.write_text(
            "".join(json.dumps(content) + "\n" for content in kept), encoding="utf-8"
        )
    return kept
