"""Runs measures, the most telling case of each first, whatever became of others."""

import itertools
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping

from absl import logging

from mlgcn_jax.benchmarks import figures, measures, race

Rows = dict[str, list[figures.Row]]


def find_platform() -> str:
    """Returns on what JAX computes here: `cpu`, `gpu` or `tpu`.

    A process of its own finds out: one that knows it holds the device, which is the
    contestants'.

    Raises:
        ValueError: JAX finds no device.
    """
    asked = "import jax; print(jax.default_backend())"
    done = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ValueError(f"JAX finds no device: {done.stderr.strip()[-500:]}")
    return done.stdout.split()[-1]


def run(
    chosen: Mapping[str, measures.Measure],
    *,
    prepare: Callable[[str], pathlib.Path],
    input_feeds_steps: bool = False,
    deadline: float = float("inf"),
) -> Iterator[Rows]:
    """Yields the rows so far of every measure, after each case, done or left out.

    The first case of each measure comes before the second of any, so that a short time
    is well spent. A row has `case`, what `Measure.to_row` gives, and `failed` where a
    contestant or all did.

    Args:
        chosen: of `measures.for_platform`, by their letters.
        prepare: makes and returns the folder that a measure reads; called once.
        input_feeds_steps: whether the pictures of P are as large as those of T.
        deadline: of `time.monotonic()`; a case that it comes before is left out.
    """
    rows: Rows = {letter: [] for letter in chosen}
    folders: dict[str, pathlib.Path] = {}
    columns = [[(letter, name) for name in m.cases] for letter, m in chosen.items()]
    for letter, name in filter(None, itertools.chain(*itertools.zip_longest(*columns))):
        measure = chosen[letter]
        if time.monotonic() > deadline:
            logging.warning("%s, %s: left out for want of time", letter, name)
        else:
            logging.info("%s (%s), %s", letter, measure.title, name)
            case = measure.cases[name]
            if measure.needs_folder:
                if letter not in folders:
                    folders[letter] = prepare(letter)
                case = {**case, "folder": str(folders[letter])}
            row = {"case": name, **_race(letter, measure, case)}
            said = (f"{key} {figures.format_cell(value)}" for key, value in row.items())
            logging.info("%s", ", ".join(said))
            rows[letter].append(row)
        if "P" in rows and input_feeds_steps:
            figures.compare_input(rows["P"], rows.get("T", []))
        yield rows


def _race(letter: str, measure: measures.Measure, case: measures.Case) -> figures.Row:
    """Returns the figures of a case, and what failed."""
    contestants = measure.contestants
    groups = (
        [contestants]
        if measure.in_turns
        else [{name: contestant} for name, contestant in contestants.items()]
    )
    results: dict[str, race.Result] = {}
    failures = []
    for group in groups:
        try:
            results |= race.race(group, letter, case, rounds=measure.rounds)
        except race.ContestantError as error:
            logging.error("%s", error)
            failures.append(str(error))
    failed = {"failed": "; ".join(failures)} if failures else {}
    # Without ours there is nothing to compare with.
    return (measure.to_row(results) if "jax" in results else {}) | failed
