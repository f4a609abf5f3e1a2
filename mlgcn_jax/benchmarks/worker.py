"""One contestant of a benchmark, in a process of its own.

    python -m mlgcn_jax.benchmarks.worker MODULE MEASURE CASE

A framework's thread pool, memory allocator and environment then disturb no other. The
process prints one JSON line when it is ready; for each line that it reads it does the
task once and prints the seconds; at the end of its input it ends.
"""

import importlib
import json
import sys
import time


def main(argv: list[str]) -> None:
    """Serves repetitions of one task over standard input and output."""
    _, module, measure, case = argv
    tasks = importlib.import_module(f"mlgcn_jax.benchmarks.{module}")
    task, facts = tasks.TASKS[measure](**json.loads(case))
    task()  # warm-up
    print(json.dumps(facts), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        task()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main(sys.argv)
