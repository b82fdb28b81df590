"""The processes among which images are divided."""

import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from threadpoolctl import threadpool_info

from yolact_ascend.errors import ToolError
from yolact_ascend.slots import SHARED_MEMORY
from yolact_ascend.workers import IN_FLIGHT, open_workers, together_of

PAGE = resource.getpagesize()
ARRAY_BYTES, ARRAYS, ROUNDS = 3_630_000, 4, 20  # what an image takes on its way to the network's input


def count_page_faults(_):
    """Return how often memory had to be fetched for arrays like those of image after image."""
    faults = []
    for _ in range(ROUNDS):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        arrays = [np.ones(ARRAY_BYTES, np.uint8) for _ in range(ARRAYS)]
        del arrays
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return faults


def test_a_worker_keeps_its_memory_from_image_to_image():
    """Else every image is given fresh pages: thousands of faults, four milliseconds of its core."""
    with open_workers(1) as pool:
        (faults,) = pool.map(count_page_faults, [None])
    if not any(faults):
        pytest.skip("this system counts no page faults")
    assert sum(faults[ROUNDS // 2 :]) < ROUNDS


HOLD = """
from yolact_ascend.workers import open_workers
if __name__ == "__main__":
    with open_workers(1) as pool:
        print(list(pool.map(abs, [-1])), flush=True)
        input()
"""


def test_a_kill_leaves_no_file_and_no_semaphore(tmp_path):
    """Killed as a whole, with the process of multiprocessing that would remove semaphores: there are none."""
    script = tmp_path / "hold.py"
    script.write_text(HOLD)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    run = subprocess.Popen(
        [sys.executable, script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(scratch)},
        start_new_session=True,
    )
    assert run.stdout.readline() == b"[1]\n"
    mapped = Path(f"/proc/{run.pid}/maps").read_text()
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    assert str(SHARED_MEMORY) not in mapped and not list(scratch.iterdir())


def test_pipes_that_cannot_be_made_name_the_limit(monkeypatch):
    def full(*_, **__):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("yolact_ascend.workers.ProcessPoolExecutor", full)
    said = r"pipes of 2 worker processes: Too many open files\. Is the limit of open files too low \(ulimit -n\)\?"
    with pytest.raises(ToolError, match=said), open_workers(2):
        pass


def count_threads(_):
    """Return how many threads OpenCV takes, and each library that numpy's arrays are multiplied by."""
    np.ones((2, 2)) @ np.ones((2, 2))
    return cv2.getNumThreads(), {pool["num_threads"] for pool in threadpool_info()}


def test_a_worker_computes_with_one_thread(monkeypatch):
    """Whatever the machine has: the images are what the cores divide."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "2")
    with open_workers(1) as pool:
        ((of_opencv, of_libraries),) = pool.map(count_threads, [None])
    assert of_opencv == 1
    assert of_libraries == {1}


@pytest.mark.parametrize("workers", [1, 2])
def test_no_more_items_are_taken_than_the_workers_need(workers):
    taken = 0

    def count():
        nonlocal taken
        for number in range(5 * IN_FLIGHT):
            taken += 1
            yield -number

    ahead = []
    with open_workers(workers) as pool:
        for consumed, value in enumerate(pool.map(abs, count())):
            assert value == consumed
            ahead.append(taken - consumed)
    assert taken == 5 * IN_FLIGHT
    assert max(ahead) == IN_FLIGHT * workers


def test_items_that_go_together_come_one_by_one():
    with open_workers(1) as pool:
        assert list(pool.map(abs, range(0, -7, -1), together=3)) == list(range(7))
        assert list(pool.map(abs, [], together=3)) == []
        found = pool.map(divide_twelve, [4, 6, 0, 1], together=2)
        assert [next(found), next(found)] == [3, 2]
        with pytest.raises(ZeroDivisionError):
            next(found)


def divide_twelve(number):
    return 12 // number


@pytest.mark.parametrize(
    ("items", "workers", "together"), [(0, 1, 1), (23, 1, 1), (24, 1, 2), (48, 1, 4), (48, 4, 1), (5000, 4, 4)]
)
def test_few_items_go_one_by_one(items, workers, together):
    assert together_of(items, workers) == together
