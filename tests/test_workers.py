"""The processes among which images are divided."""

import resource

import numpy as np
import pytest

from yolact_ascend.workers import open_workers

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
