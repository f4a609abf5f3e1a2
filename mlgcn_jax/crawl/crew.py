"""Threads that work for one that records; whatever they raise, that one raises."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from mlgcn_jax.crawl.client import stopping

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")
_MOST_AT_ONCE = 64  # results
_LONGEST_WAIT_S = 0.1  # of a result for others, once it is there
_LONGEST_END_S = 15.0  # for what is under way when all are dismissed


class Crew(Generic[_Task, _Result]):
    """Threads, tasks and results; of each as many as are under way, not more."""

    def __init__(
        self,
        size: int,
        work: Callable[[_Task], _Result],
        stop: stopping.Stop,
    ):
        """Starts the threads.

        Args:
            size: How many.
            work: Makes a result of a task.
            stop: Set by `dismiss`; `work` should look at it.
        """
        self._work = work
        self._stop = stop
        self._most_under_way = _MOST_AT_ONCE + 2 * size
        self._under_way = 0
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[_Result | BaseException] = queue.SimpleQueue()
        self._error: BaseException | None = None
        # Daemons: one that hangs in the system must not keep the process alive.
        self._threads = [
            threading.Thread(target=self._run, daemon=True) for _ in range(size)
        ]
        for thread in self._threads:
            thread.start()

    def give(self, tasks: Iterator[_Task]) -> bool:
        """Hands out tasks while there is room; returns whether any is under way."""
        while self._under_way < self._most_under_way:
            try:
                task = next(tasks)
            except StopIteration:
                break
            self._tasks.put(task)
            self._under_way += 1
        return self._under_way > 0

    def take(self) -> list[_Result]:
        """Waits for results and returns at least one; raises what a thread raised."""
        results: list[_Result] = []
        deadline = float("inf")
        while len(results) < min(_MOST_AT_ONCE, self._under_way):
            if self._error is not None and results:
                break  # what was done before it comes first
            if self._error is not None:
                raise self._error
            try:
                wait_s = deadline - time.monotonic()
                result = self._results.get(
                    timeout=max(0.0, wait_s) if results else None
                )
            except queue.Empty:
                break
            if isinstance(result, BaseException):
                self._error = result
                continue
            if not results:
                deadline = time.monotonic() + _LONGEST_WAIT_S
            results.append(result)
        self._under_way -= len(results)
        return results

    def dismiss(self) -> list[_Result]:
        """Stops the threads and returns the results that nobody took."""
        self._stop.set()
        for _ in self._threads:
            self._tasks.put(None)
        deadline = time.monotonic() + _LONGEST_END_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        results = []
        while not self._results.empty():
            result = self._results.get()
            if not isinstance(result, BaseException):
                results.append(result)
        return results

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                self._stop.check()
                result = self._work(task)
            except stopping.StoppedError:
                return
            except BaseException as error:  # it is raised where results are taken
                self._results.put(error)
                return
            self._results.put(result)
