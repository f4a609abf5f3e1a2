"""Traces of some steps, for TensorBoard's profile plugin, XProf or Perfetto."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
from absl import logging

from mlgcn_jax.runs import processes


def parse_steps(text: str) -> range:
    """Returns the steps that `A-B` names, both of them included.

    Raises:
        ValueError: it names none.
    """
    first, dash, last = text.partition("-")
    if not (dash and first.isdecimal() and last.isdecimal()):
        raise ValueError(f"expected the first and the last step, as in 20-25: {text!r}")
    if not 1 <= int(first) <= int(last):
        raise ValueError(
            f"{text}: steps count from 1, and the last is not before the first"
        )
    return range(int(first), int(last) + 1)


class Profiler:
    """Traces steps into a folder; make it with `profiling`."""

    def __init__(self, steps: range, folder: pathlib.Path):
        """Takes the steps, 1 the first, and where their trace goes."""
        self._steps = steps
        self._folder = folder
        self._tracing = False

    def after(self, step: int, state: Any) -> None:
        """Begins or ends the trace where that is due between two steps.

        Args:
            step: that was done last.
            state: its result, which the end of the trace waits for.
        """
        if not self._tracing and step + 1 in self._steps:
            # What the steps before it left to the devices is no part of it.
            jax.block_until_ready(state)
            jax.profiler.start_trace(self._folder)
            self._tracing = True
        elif self._tracing and step + 1 not in self._steps:
            jax.block_until_ready(state)
            self._stop()

    def _stop(self) -> None:
        self._tracing = False
        jax.profiler.stop_trace()
        logging.info("the profile of the steps is in %s", self._folder)


@contextlib.contextmanager
def profiling(
    steps: range, folder: pathlib.Path, *, step: int, num_steps: int
) -> Iterator[Profiler]:
    """Traces steps of a run while inside; one that is under way ends with the block.

    Args:
        steps: which, 1 being the first; empty: none.
        folder: of the traces. Each process has a folder of its own in it.
        step: that the run is at.
        num_steps: of the run.

    Raises:
        ValueError: the run does not have the first of them.
    """
    if steps and steps[0] > num_steps:
        raise ValueError(
            f"--profile_steps={steps[0]}-{steps[-1]}: the run has only {num_steps} "
            "steps; choose some of them"
        )
    if steps and steps[-1] > num_steps:
        logging.warning(
            "--profile_steps=%d-%d: the run ends with step %d, and so does the profile",
            steps[0],
            steps[-1],
            num_steps,
        )
    if steps and steps[-1] <= step:
        logging.warning(
            "--profile_steps=%d-%d: the run is at step %d already, so there is no "
            "profile",
            steps[0],
            steps[-1],
            step,
        )
    profiler = Profiler(steps, folder / f"process{processes.index()}")
    try:
        yield profiler
    finally:
        if profiler._tracing:
            profiler._stop()
