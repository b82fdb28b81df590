"""Work on many images by all cores: processes with one thread each, results in order, no more in flight than asked."""

from __future__ import annotations

import ctypes
import itertools
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

import cv2
from threadpoolctl import threadpool_limits

from yolact_ascend.errors import ToolError
from yolact_ascend.files import path_in_memory
from yolact_ascend.tokens import TokenSemaphore

Item = TypeVar("Item")
Result = TypeVar("Result")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
LARGEST_KEPT = 32 * 2**20  # bytes; it takes no more
KILLED = (
    "A worker process ended without an error message. Was it killed because memory ran out? Use fewer workers "
    "(--workers)."
)
_starting = threading.Lock()  # of a process, which changes what all of this one sees
IN_FLIGHT = 3  # hand-overs a worker has at most: one that it works on, others so that it never waits
MOST_TOGETHER = 4  # short items in one


@contextmanager
def open_workers(workers: int, start: Callable[..., None] | None = None, *arguments: Any) -> Iterator[Workers]:
    """Start `workers` processes and, in each, call `start` once; they end with the block, or with this process.

    Raises ToolError when the system has no room for what they share.
    """
    # By a file: sending to a process that dies while it starts can fill the pipe, and would wait forever.
    with path_in_memory("start.pickle") as given:
        given.write_bytes(pickle.dumps((start, arguments)))
        pool = _make_pool(workers, given)
        try:
            started = Workers(pool, workers)
            for _ in range(workers):  # now, not when work comes: from threads of the caller's, perhaps
                started.submit(os.getpid)
            yield started
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _make_pool(workers: int, given: Path) -> ProcessPoolExecutor:
    resource_tracker.ensure_running()  # would unblock interrupts while the first worker is started
    try:
        return ProcessPoolExecutor(workers, _Spawning(), _start_worker, (given,))
    except OSError as error:
        raise ToolError(
            f"Cannot make the pipes of {workers} worker processes: {error.strerror}. Is the limit of open files too "
            "low (ulimit -n)?"
        ) from error


class _WorkerProcess(SpawnProcess):
    """A process that does not run the user's script again: multiprocessing would, which asks for a guard in it."""

    @staticmethod
    def _Popen(process: BaseProcess) -> Any:
        with _starting:
            script, sys.modules["__main__"] = sys.modules["__main__"], types.ModuleType("__main__")
            try:
                return SpawnProcess._Popen(process)
            finally:
                sys.modules["__main__"] = script


class _Spawning(SpawnContext):
    """Not forked: the libraries have threads here, which a fork would leave in an undefined state.

    Nothing that it makes has a name, so that nothing is left, whatever ends these processes.
    """

    Process = _WorkerProcess

    def Lock(self) -> Any:
        return TokenSemaphore(self)

    def BoundedSemaphore(self, value: int = 1) -> Any:
        return TokenSemaphore(self, value)


class Workers:
    """The processes of `open_workers`."""

    def __init__(self, pool: ProcessPoolExecutor, count: int) -> None:
        self._pool = pool
        self.count = count

    def submit(self, work: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Have one of them call `work`, a function of a module; raises ToolError when one of them was killed."""
        try:
            with _interrupts_blocked():
                return self._pool.submit(work, *arguments)
        except BrokenProcessPool as error:
            raise ToolError(KILLED) from error

    def cancel(self) -> None:
        """Drop what has not begun; waiting for it raises CancelledError."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def map(self, work: Callable[[Item], Result], items: Iterable[Item], together: int = 1) -> Iterator[Result]:
        """Yield `work(item)` for each item, in order; raises what it raised.

        So many items go to a worker `together`, because handing over takes 0.4 ms of CPU time.
        Takes items only as it needs them, so that no more than `IN_FLIGHT` times that for each worker are held at once.
        """
        items = iter(items)
        parts = iter(lambda: tuple(itertools.islice(items, together)), ())
        for future in in_order(lambda part: self.submit(_do_each, work, part), parts, IN_FLIGHT * self.count):
            yield from self.result(future)

    def result(self, future: Future[Result]) -> Result:
        """Return what a call gave, or raise what it raised; raises ToolError when its process was killed."""
        try:
            return future.result()
        except BrokenProcessPool as error:
            raise ToolError(KILLED) from error


def _do_each(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    return [work(item) for item in items]


def together_of(items: int, workers: int) -> int:
    """Return how many of so many short items to hand over at once: few, so that all workers end at about one time."""
    return min(MOST_TOGETHER, max(1, items // (MOST_TOGETHER * IN_FLIGHT * workers)))


def in_order(submit: Callable[[Item], Future[Result]], items: Iterable[Item], most: int) -> Iterator[Future[Result]]:
    """Submit each item and yield the futures in that order; the next is submitted when one has been used."""
    items = iter(items)
    pending = deque(map(submit, itertools.islice(items, most)))
    while pending:
        yield pending.popleft()
        pending.extend(map(submit, itertools.islice(items, 1)))


def map_by_threads(work: Callable[[Item], Result], items: Iterable[Item], threads: int, most: int) -> Iterator[Result]:
    """Do work on each item by threads of this process, `most` items in flight; yields the results in order."""
    with ThreadPoolExecutor(threads) as pool:
        for done in in_order(lambda item: pool.submit(work, item), items, most):
            yield done.result()


def use_one_thread() -> None:
    """Have OpenCV and numpy's BLAS compute in the calling thread: the images are what the cores divide."""
    cv2.setNumThreads(1)
    threadpool_limits(1)


def keep_memory() -> None:
    """Have the C library keep freed memory: the next image needs as much.

    Getting new pages takes longer than resizing an image. Where the library is not glibc, nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Start processes inside so that they ignore Ctrl-C: their parent gets it, too, and ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(given: Path) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    use_one_thread()
    keep_memory()
    try:
        start, arguments = pickle.loads(given.read_bytes())
    except FileNotFoundError:  # the parent has given up meanwhile
        os._exit(1)
    if start is not None:
        start(*arguments)


def _end_with_parent() -> None:
    """End when the parent was killed, since it can no longer end this process."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
