"""Runs contestants in turn, so that what disturbs the machine disturbs all of them."""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from absl import logging


class Result(NamedTuple):
    """What one contestant took.

    Attributes:
        seconds: median over the rounds.
        ready_s: time from the start of its process until it was ready.
        facts: what the contestant said of itself when it was ready.
    """

    seconds: float
    ready_s: float
    facts: dict[str, Any]


class Contestant(NamedTuple):
    """What to run.

    Attributes:
        module: of this package.
        environment: variables to set.
        requires: a package that the module imports, which may not be there.
    """

    module: str
    environment: Mapping[str, str] = {}
    requires: str | None = None


class ContestantError(ValueError):
    """A contestant ended before its time."""


def race(
    contestants: Mapping[str, Contestant],
    measure: str,
    case: Mapping[str, Any],
    *,
    rounds: int,
) -> dict[str, Result]:
    """Returns the median of each contestant; every round runs each of them once.

    Raises:
        ContestantError: a contestant failed; its output has been shown.
    """
    with contextlib.ExitStack() as stack:
        started = {}
        facts = {}
        ready_s = {}
        for name, contestant in contestants.items():
            start = time.perf_counter()
            process = stack.enter_context(_started(contestant, measure, case))
            facts[name] = json.loads(_answer(process, name))
            ready_s[name] = time.perf_counter() - start
            started[name] = process
            logging.info("%s of %s is ready", name, case)
        seconds: dict[str, list[float]] = {name: [] for name in started}
        for _ in range(rounds):
            for name, process in started.items():
                assert process.stdin is not None
                process.stdin.write("\n")
                process.stdin.flush()
                seconds[name].append(float(_answer(process, name)))
    return {
        name: Result(statistics.median(values), ready_s[name], facts[name])
        for name, values in seconds.items()
    }


@contextlib.contextmanager
def _started(
    contestant: Contestant, measure: str, case: Mapping[str, Any]
) -> Iterator[subprocess.Popen[str]]:
    command = (
        *(sys.executable, "-m", "mlgcn_jax.benchmarks.worker"),
        *(contestant.module, measure, json.dumps(dict(case))),
    )
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **contestant.environment},
    ) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def _answer(process: subprocess.Popen[str], name: str) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise ContestantError(f"{name} ended with status {process.wait()}, see above")
    return line
