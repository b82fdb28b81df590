"""Batches that several processes share."""

import errno
import os
import pickle
import time

import numpy as np
import pytest

from yolact_ascend import slots as slots_module
from yolact_ascend.errors import ArtifactError
from yolact_ascend.slots import ALIGNMENT, PREFIX, open_slots
from yolact_ascend.tensors import TensorSpec

OUTPUTS = (TensorSpec("a", (3,)), TensorSpec("b", (2, 2), "float16"))


def test_every_array_has_a_place_of_its_own():
    with open_slots(2, 3, 5, OUTPUTS) as slots:
        arrays = [array for slot in range(2) for array in (slots.images(slot), *slots.results(slot))]
        assert [array.shape for array in arrays[:3]] == [(3, 5), (3, 3), (3, 2, 2)]
        assert [array.dtype.name for array in arrays[:3]] == ["uint8", "float32", "float16"]
        for value, array in enumerate(arrays):
            array[:] = value
        assert [np.unique(array).tolist() for array in arrays] == [[value] for value in range(6)]
        assert all(offset % ALIGNMENT == 0 for offset in slots.output_offsets)
        assert slots.path.stat().st_size == 2 * slots.slot_bytes


def test_another_process_sees_the_same_memory_which_goes_at_the_end():
    with open_slots(1, 1, 4, OUTPUTS) as slots:
        other = pickle.loads(pickle.dumps(slots))
        other.images(0)[:] = 7
        assert (slots.images(0) == 7).all()
    assert not slots.path.exists()


def test_what_a_killed_process_left_is_swept(tmp_path, monkeypatch):
    monkeypatch.setattr(slots_module, "SHARED_MEMORY", tmp_path)
    for name, age_s in (("left", 100), ("new", 0)):
        (tmp_path / f"{PREFIX}{name}").touch()
        os.utime(tmp_path / f"{PREFIX}{name}", (time.time() - age_s,) * 2)
    with open_slots(1, 1, 4, OUTPUTS) as held:
        os.utime(held.path, (time.time() - 100,) * 2)
        assert not (tmp_path / f"{PREFIX}left").exists() and (tmp_path / f"{PREFIX}new").exists()
        with open_slots(1, 1, 4, OUTPUTS):
            assert held.path.exists()


def test_where_memory_is_full_a_disk_serves_and_that_is_said(tmp_path, monkeypatch, capsys):
    allocate = os.posix_fallocate

    def full_once(*arguments):
        monkeypatch.setattr(os, "posix_fallocate", allocate)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full_once)
    monkeypatch.setattr(slots_module.tempfile, "gettempdir", lambda: str(tmp_path))
    with open_slots(2, 8, 100, OUTPUTS) as slots:
        assert slots.path.parent == tmp_path
    assert "warning: /dev/shm has no room for batches of 0 MB in all: No space" in capsys.readouterr().err


def test_no_room_is_said_before_it_is_needed(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    said = r"has no room for batches of 0 MB in all: No space left on device\. Take a smaller"
    with pytest.raises(ArtifactError, match=said), open_slots(2, 8, 100, OUTPUTS):
        pass
