"""Semaphores without a name."""

import os
import threading
from multiprocessing import get_context

from yolact_ascend.tokens import TokenSemaphore


def test_a_token_is_taken_once_and_another_waits():
    semaphore = TokenSemaphore(get_context("spawn"), 2)
    assert semaphore.acquire() and semaphore.acquire() and semaphore._semlock._is_zero()
    assert not semaphore.acquire(block=False)
    waiting = threading.Thread(target=semaphore.acquire)
    waiting.start()
    waiting.join(timeout=0.05)
    assert waiting.is_alive()
    semaphore.release()
    waiting.join(timeout=10)
    assert not waiting.is_alive() and semaphore._is_zero()


def hold(semaphore, reader, writer):
    with semaphore:
        os.write(writer.fileno(), b"held")
        reader.recv()


def test_a_process_that_is_started_shares_it():
    context = get_context("spawn")
    lock = TokenSemaphore(context)
    (said, saying), (told, telling) = context.Pipe(duplex=False), context.Pipe(duplex=False)
    process = context.Process(target=hold, args=(lock, told, saying))
    process.start()
    assert os.read(said.fileno(), 4) == b"held" and lock._is_zero()
    telling.send("go on")
    with lock:
        process.join(timeout=30)
    assert process.exitcode == 0 and not lock._is_zero()
