"""Where a run's data set lies, noted so that the work folder may move with a data set inside."""

from types import SimpleNamespace

import pytest

from yolact_ascend.pipeline import data_place
from yolact_ascend.pipeline.data_place import note_place, read_place
from yolact_ascend.pipeline.records import Record
from yolact_ascend.targets.folder import WorkFolder


@pytest.mark.parametrize("inside", [True, False])
def test_a_place_is_found_again(tmp_path, monkeypatch, inside):
    root = tmp_path / "results"
    data = (root if inside else tmp_path) / "data"
    monkeypatch.setattr(data_place, "find_dataset", lambda _: (data / "val2017", data / "a.json"))
    note = note_place(SimpleNamespace(folder=WorkFolder(root), settings=None))
    moved = WorkFolder(tmp_path / "moved")
    expected = (moved.root if inside else tmp_path) / "data"
    assert read_place(Record({}, {}, 0, None, note), moved) == (expected / "val2017", expected / "a.json")


@pytest.mark.parametrize("note", ["", "[]", "weights.pth", "3"])
def test_records_of_earlier_versions_note_none(tmp_path, note):
    assert read_place(Record({}, {}, 0, None, note), WorkFolder(tmp_path)) is None
