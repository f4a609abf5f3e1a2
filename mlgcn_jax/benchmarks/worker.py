"""One contestant of a benchmark, in a process of its own.

    python -m mlgcn_jax.benchmarks.worker MODULE MEASURE CASE

A framework's thread pool, memory allocator and environment then disturb no other. The
process prints one JSON line when it is ready; for each line that it reads it does the
task a few times and prints the seconds of one; at the end of its input it ends.
"""

import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable

# The threads of the contestant before (OpenMP's, ONNX Runtime's) spin for a while when
# its work is done, and its data fill the caches.
_PAUSE_S = 0.2
_TURN_S = 0.5
_MOST_REPETITIONS = 5


def main(argv: list[str]) -> None:
    """Serves repetitions of one task over standard input and output."""
    _, module, measure, case = argv
    tasks = importlib.import_module(f"mlgcn_jax.benchmarks.{module}")
    task = tasks.TASKS[measure](**json.loads(case))
    task.run()  # warm-up
    print(json.dumps({**task.facts, **task.used()}), flush=True)
    for _ in sys.stdin:
        print(_seconds_of(task.run), flush=True)


def _seconds_of(task: Callable[[], object]) -> float:
    """Returns the median of a few repetitions, when the machine is the task's again."""
    time.sleep(_PAUSE_S)
    task()
    seconds: list[float] = []
    while sum(seconds) < _TURN_S and len(seconds) < _MOST_REPETITIONS:
        start = time.perf_counter()
        task()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


if __name__ == "__main__":
    main(sys.argv)
