"""Work spread over processes; results come back in order, so that the number of workers never shows in a file."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TypeVar

from synthdrive.errors import ParameterError

Item = TypeVar("Item")
Result = TypeVar("Result")


def worker_count(workers: int | None = None) -> int:
    """Processes to use: the argument, else `SYNTHDRIVE_WORKERS`, else the processors this process may run on."""
    text = os.environ.get("SYNTHDRIVE_WORKERS", "") if workers is None else str(workers)
    if text and (not text.isdigit() or int(text) < 1):
        raise ParameterError("workers", repr(text), "a whole number from 1")
    return int(text) if text else len(os.sched_getaffinity(0))


@contextmanager
def local_executor(workers: int | None = None) -> Iterator[Executor]:
    """Processes on this machine, as a `concurrent.futures` executor; waiting work is dropped when the block fails."""
    executor = ProcessPoolExecutor(worker_count(workers), mp_context=get_context("forkserver"))
    try:
        yield executor
    except BaseException:
        executor.shutdown(wait=True, cancel_futures=True)
        raise
    executor.shutdown()


def ordered_map(
    executor: Executor, function: Callable[[Item], Result], items: Iterable[Item], in_flight: int = 32
) -> Iterator[Result]:
    """Results of `function` for each item, in the order of the items, in constant memory.

    Args:
        executor: any `concurrent.futures` executor: `local_executor`, or a cluster's.
        function: picklable; an exception in it is raised here, in its turn.
        items: taken one by one, only as fast as results are consumed.
        in_flight: how many items may wait or run at a time.
    """
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(executor.submit(function, item))
        if len(waiting) >= in_flight:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
