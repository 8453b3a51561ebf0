"""Work spread over processes, and its progress; results come back in order, however many workers there are."""

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
IN_FLIGHT = 32  # items at a time, of an executor whose workers cannot be counted


def worker_count(workers: int | None = None) -> int:
    """Processes to use: the argument, else `SYNTHDRIVE_WORKERS`, else the processors this process may run on."""
    text = os.environ.get("SYNTHDRIVE_WORKERS", "") if workers is None else str(workers)
    if text and (not text.isdigit() or int(text) < 1):
        raise ParameterError("workers", repr(text), "a whole number from 1")
    return int(text) if text else len(os.sched_getaffinity(0))


@contextmanager
def open_executor(executor: str | None = None, workers: int | None = None) -> Iterator[Executor]:
    """The executor that a stage spreads its work over.

    Args:
        executor: `local` for processes on this machine, or a Dask scheduler's address (`tcp://host:8786`) for the
            workers of a cluster; the default is `SYNTHDRIVE_EXECUTOR`, else `local`.
        workers: processes on this machine, see `worker_count`; a cluster has its own.

    Raises:
        ParameterError: neither of the two, or no scheduler at the address.
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
    """Processes on this machine, as a `concurrent.futures` executor.

    Waiting work is dropped when the block fails, running work too when it is interrupted.
    """
    executor = ProcessPoolExecutor(worker_count(workers), get_context("forkserver"), _serve_parent)
    try:
        yield executor
    except BaseException as error:
        if not isinstance(error, Exception):
            for worker in active_children():
                worker.terminate()
        with suppress(RuntimeError):  # of an executor that lacked the memory to start; the error itself says so
            executor.shutdown(wait=True, cancel_futures=True)
        raise
    executor.shutdown()


def _serve_parent() -> None:
    """Leave it to the parent what Ctrl-C means, and end when the parent does, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        Thread(target=_end_after, args=(parent.join,), daemon=True).start()


def _end_after(wait: Callable[[], None]) -> None:
    wait()
    os._exit(1)


@contextmanager
def cluster_executor(address: str) -> Iterator[Executor]:
    """The workers of a Dask cluster, as a `concurrent.futures` executor; they need the same SynthDrive installed."""
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
        # Dask takes calls for pure and would run equal ones once; ours may be, but need not be.
        yield client.get_executor(pure=False)
    finally:
        client.close()


def enough_in_flight(executor: Executor) -> int:
    """How many items `ordered_map` needs at a time so that no worker of this executor waits for the next one.

    Twice its workers, whose number the executors do not tell in public; of another kind of executor, IN_FLIGHT.
    """
    client = getattr(executor, "_client", None)  # of a Dask cluster
    workers = sum(client.nthreads().values()) if client is not None else getattr(executor, "_max_workers", 0)
    return 2 * workers if workers else IN_FLIGHT


def ordered_map(
    executor: Executor, function: Callable[[Item], Result], items: Iterable[Item], in_flight: int | None = None
) -> Iterator[Result]:
    """Results of `function` for each item, in the order of the items, in constant memory.

    Args:
        executor: any `concurrent.futures` executor: `local_executor`, or a cluster's.
        function: picklable; an exception in it is raised here, in its turn.
        items: taken one by one, only as fast as results are consumed.
        in_flight: how many items may wait or run at a time; None for as many as keep every worker busy.
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
    """Pass the items on and show how far they are.

    Args:
        label: what is being done, as the bar's title.
        total: number of items where it is known.
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
