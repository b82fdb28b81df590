"""Batches that several processes share."""

import errno
import os
import pickle

import numpy as np
import pytest

from yolact_ascend import slots as slots_module
from yolact_ascend.errors import ArtifactError
from yolact_ascend.slots import ALIGNMENT, open_slots
from yolact_ascend.tensors import TensorSpec

INPUTS = (TensorSpec("image", (2, 3), "uint8", "NHWC"), TensorSpec("size", (2,)))
OUTPUTS = (TensorSpec("a", (3,)), TensorSpec("b", (2, 2), "float16"))
ONE_INPUT = INPUTS[:1]


@pytest.mark.parametrize("inputs", [(), ONE_INPUT, INPUTS], ids=["none", "one", "several"])
def test_every_array_has_a_place_of_its_own(inputs):
    specs = (*inputs, *OUTPUTS)
    with open_slots(2, 3, inputs, OUTPUTS) as slots:
        arrays = [array for slot in range(2) for array in (*slots.images(slot), *slots.results(slot))]
        found = [(array.shape, array.dtype.name) for array in arrays]
        assert found == 2 * [((3, *spec.shape), spec.dtype) for spec in specs]
        for value, array in enumerate(arrays):
            array[:] = value
        assert [np.unique(array).tolist() for array in arrays] == [[value] for value in range(2 * len(specs))]
        assert all(offset % ALIGNMENT == 0 for offset in slots.offsets)
        assert slots.path.stat().st_size == 2 * slots.slot_bytes


def test_places_are_where_the_arrays_lie_in_the_file():
    """The device's worker finds the arrays by these numbers alone."""
    with open_slots(2, 3, INPUTS, OUTPUTS) as slots:
        # 18 bytes of images and 24 of sizes, 36 of a and 24 of b, each in its own 64 bytes.
        assert slots.places(0) == ([[0, 18], [64, 24]], [[128, 36], [192, 24]])
        assert slots.places(1) == ([[256, 18], [320, 24]], [[384, 36], [448, 24]])
        slots.images(1)[1][:] = 5
        slots.results(1)[0][:] = 7
        data = slots.path.read_bytes()
    assert np.frombuffer(data, np.float32, 6, 320).tolist() == [5] * 6
    assert np.frombuffer(data, np.float32, 9, 384).tolist() == [7] * 9
    assert len(data) - data.count(0) == 2 * (
        6 + 9
    )  # nothing else was written; 5.0 and 7.0 have two bytes each that are not zero


def test_another_process_sees_the_same_memory_which_goes_at_the_end():
    with open_slots(1, 1, INPUTS, OUTPUTS) as slots:
        other = pickle.loads(pickle.dumps(slots))
        assert other == slots
        for image in other.images(0):
            image[:] = 7
        assert all((image == 7).all() for image in slots.images(0))
    assert not slots.path.exists()


def test_the_file_has_no_name_that_a_kill_could_leave(tmp_path, monkeypatch):
    monkeypatch.setattr(slots_module, "SHARED_MEMORY", tmp_path)
    with open_slots(1, 1, ONE_INPUT, OUTPUTS) as slots:
        assert tmp_path in slots.path.readlink().parents and not list(tmp_path.iterdir())


def test_where_memory_is_full_a_disk_serves_and_that_is_said(tmp_path, monkeypatch, capsys):
    allocate = os.posix_fallocate

    def full_once(*arguments):
        monkeypatch.setattr(os, "posix_fallocate", allocate)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full_once)
    monkeypatch.setattr(slots_module.tempfile, "gettempdir", lambda: str(tmp_path))
    with open_slots(2, 8, ONE_INPUT, OUTPUTS) as slots:
        assert tmp_path in slots.path.readlink().parents
    assert "warning: /dev/shm cannot hold batches of 0 MB in all: No space" in capsys.readouterr().err


def test_no_room_is_said_before_it_is_needed(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    said = r"cannot hold batches of 0 MB in all: No space left on device\. Use a smaller"
    with pytest.raises(ArtifactError, match=said), open_slots(2, 8, ONE_INPUT, OUTPUTS):
        pass
