"""Semaphores without a name: tokens in a pipe. Those of POSIX are files in /dev/shm, which a kill would leave there."""

from __future__ import annotations

import os
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext


class TokenSemaphore:
    """A semaphore, or a lock where `count` is 1, that processes share; it is given to them as they start.

    It has what multiprocessing's queues and concurrent.futures ask of one (tried: CPython 3.9 to 3.13).
    """

    def __init__(self, context: BaseContext, count: int = 1) -> None:
        """Raises OSError when no more files may be open."""
        self._reader: Connection
        self._writer: Connection
        self._reader, self._writer = context.Pipe(duplex=False)
        os.write(self._writer.fileno(), bytes(count))

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Take a token, which may wait for one: the kernel wakes one of those who wait. Returns whether it was taken.

        Not to wait is for the only one who takes, as of a queue's free places: another could be faster.
        """
        assert timeout is None, "no queue of ours has a time limit"
        if not block and self._is_zero():
            return False
        os.read(self._reader.fileno(), 1)
        return True

    def release(self) -> None:
        """Put a token back."""
        os.write(self._writer.fileno(), b"\0")

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    @property
    def _semlock(self) -> TokenSemaphore:
        return self  # whose _is_zero Queue.full calls

    def _is_zero(self) -> bool:
        return not wait([self._reader], 0)
