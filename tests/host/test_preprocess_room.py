"""Inputs that do not fit on the disk are refused before any is written."""

import shutil
from types import SimpleNamespace

import pytest
from factories import SMALL_CONFIG

from yolact_ascend.errors import UsageError
from yolact_ascend.host.preprocess import require_room_for_inputs
from yolact_ascend.models.inputs import UINT8, input_tensor

INPUT, UINT8_INPUT = input_tensor(SMALL_CONFIG), input_tensor(SMALL_CONFIG, UINT8)
GB = 10**9


@pytest.fixture
def free(monkeypatch):
    """Set the bytes that are free."""
    return lambda size_bytes: monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=size_bytes))


@pytest.mark.parametrize(
    ("free_gb", "spec", "said"),
    [
        (18.15, INPUT, None),
        (18.1, INPUT, "Use --dtype uint8, for a model with AIPP (4.54 GB), --limit 4710, or another disk with 18.15"),
        (4, INPUT, "4.00 GB are free. Use --limit 826, or another disk with 18.15 GB (--save_path DIR)."),
        (0.001, INPUT, "0.00 GB are free. Use another disk with 18.15 GB (--save_path DIR)."),
        (4, UINT8_INPUT, "4.00 GB are free. Use --limit 3305, or another disk with 4.54 GB"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(tmp_path, free, free_gb, spec, said):
    free(int(free_gb * GB))
    if said is None:
        require_room_for_inputs(tmp_path, 5000, SMALL_CONFIG, [spec])
        return
    with pytest.raises(UsageError) as caught:
        require_room_for_inputs(tmp_path, 5000, SMALL_CONFIG, [spec])
    assert said in str(caught.value)


def test_inputs_that_lie_there_need_no_room(tmp_path, free):
    (tmp_path / "bin_file").mkdir()
    (tmp_path / "bin_file" / "0.bin").write_bytes(bytes(INPUT.size_bytes))
    free(INPUT.size_bytes)
    require_room_for_inputs(tmp_path, 2, SMALL_CONFIG, [INPUT])
    with pytest.raises(UsageError, match="--limit 1,"):
        require_room_for_inputs(tmp_path, 3, SMALL_CONFIG, [INPUT])
