"""Parallel work and its progress; results come in order, whatever the number of workers."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import active_children, get_context, parent_process
from threading import Thread
from typing import TypeVar

from tqdm import tqdm

from synthdrive.core.errors import ParameterError

Item = TypeVar("Item")
Result = TypeVar("Result")

LOCAL = "local"
CLUSTER_SCHEMES = ("tcp://", "tls://", "ucx://", "ws://")
CONNECT_SECONDS = 20.0
IN_FLIGHT = 32  # items submitted at a time to an executor whose number of workers is unknown


def worker_count(workers: int | None = None) -> int:
    """Return the number of processes to use: `workers`, else `SYNTHDRIVE_WORKERS`, else the number of usable CPUs."""
    text = os.environ.get("SYNTHDRIVE_WORKERS", "") if workers is None else str(workers)
    if text and (not text.isdigit() or int(text) < 1):
        raise ParameterError("workers", repr(text), "a whole number from 1")
    return int(text) if text else len(os.sched_getaffinity(0))


@contextmanager
def open_executor(executor: str | None = None, workers: int | None = None) -> Iterator[Executor]:
    """Open the executor on which a stage runs its work.

    Args:
        executor: `local` for processes on this machine, or the address of a Dask scheduler (`tcp://host:8786`); the
            default is `SYNTHDRIVE_EXECUTOR`, else `local`.
        workers: number of processes on this machine (see `worker_count`); not used with a cluster.

    Raises:
        ParameterError: `executor` is neither of these, or no scheduler answers at the address.
    """
    kind = executor or os.environ.get("SYNTHDRIVE_EXECUTOR") or LOCAL
    if kind == LOCAL:
        with local_executor(workers) as local:
            yield local
        return
    if not kind.startswith(CLUSTER_SCHEMES):
        raise ParameterError("executor", repr(kind), f"{LOCAL!r} or a Dask scheduler's address such as tcp://host:8786")
    with cluster_executor(kind) as cluster:
        yield cluster


@contextmanager
def local_executor(workers: int | None = None) -> Iterator[Executor]:
    """Open a pool of processes on this machine.

    If the block raises, pending work is cancelled; if it is interrupted, running work is terminated too.
    """
    executor = ProcessPoolExecutor(worker_count(workers), get_context("forkserver"), _tie_to_parent)
    try:
        yield executor
    except BaseException as error:
        if not isinstance(error, Exception):
            for worker in active_children():
                worker.terminate()
        with suppress(RuntimeError):  # raised if the pool lacked the memory to start, which `error` already says
            executor.shutdown(wait=True, cancel_futures=True)
        raise
    executor.shutdown()


def _tie_to_parent() -> None:
    """Ignore Ctrl-C, which the parent handles, and exit when the parent has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        Thread(target=_end_after, args=(parent.join,), daemon=True).start()


def _end_after(wait: Callable[[], None]) -> None:
    wait()
    os._exit(1)


@contextmanager
def cluster_executor(address: str) -> Iterator[Executor]:
    """Open an executor on a Dask cluster, whose workers need the same version of SynthDrive.

    Raises:
        ParameterError: Dask is not installed, or no scheduler answers at the address.
    """
    try:
        from distributed import Client
    except ImportError:
        raise ParameterError(
            "executor", f"{address!r} without Dask", "the package `distributed`", "Install it: pip install distributed"
        ) from None
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise ParameterError("executor", f"{address!r} ({error})", "the address of a running Dask scheduler") from None
    try:
        # By default Dask assumes that functions are pure and runs equal calls only once.
        yield client.get_executor(pure=False)
    finally:
        client.close()


def enough_in_flight(executor: Executor) -> int:
    """Return how many items `ordered_map` must have submitted so that no worker of the executor is idle.

    This is twice the number of workers, or IN_FLIGHT for other kinds of executor. Executors have no public attribute
    for that number.
    """
    client = getattr(executor, "_client", None)  # only a Dask executor has one
    workers = sum(client.nthreads().values()) if client is not None else getattr(executor, "_max_workers", 0)
    return 2 * workers if workers else IN_FLIGHT


def ordered_map(
    executor: Executor, function: Callable[[Item], Result], items: Iterable[Item], in_flight: int | None = None
) -> Iterator[Result]:
    """Yield `function(item)` for each item, in the order of the items, in constant memory.

    Args:
        executor: any `concurrent.futures` executor, such as `local_executor` or `cluster_executor`.
        function: a picklable function; if it raises, so does this, when that item's turn comes.
        items: consumed one by one, only as fast as results are taken.
        in_flight: most items pending or running at a time; None for `enough_in_flight`.
    """
    in_flight = enough_in_flight(executor) if in_flight is None else in_flight
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(executor.submit(function, item))
        if len(waiting) >= in_flight:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


LINE_EVERY_SECONDS = 60.0


def track(items: Iterable[Item], label: str, total: int | None = None, unit: str = "it") -> Iterator[Item]:
    """Yield the items and show progress on stderr: a bar on a terminal, else a line a minute.

    Args:
        label: title of the bar.
        total: number of items, if known.
        unit: name of an item.
    """
    if sys.stderr.isatty():
        yield from tqdm(items, desc=label, total=total, unit=unit)
        return
    last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        if time.monotonic() - last >= LINE_EVERY_SECONDS:
            last = time.monotonic()
            print(f"{label}: {done}{'' if total is None else f' of {total}'} {unit}", file=sys.stderr, flush=True)
