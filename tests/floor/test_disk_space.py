"""Space on a disk: what is free and taken, and the sentence that offers choices."""

from types import SimpleNamespace

import pytest

from yolact_ascend import disk
from yolact_ascend.disk import GB, SPARE_BYTES, existing_folder, free_bytes, in_gb, offer, plannable_bytes, size_of


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        (["bs=1"], "Use bs=1."),
        (["bs=1", "out=DIR"], "Use bs=1, or out=DIR."),
        (["bs=1", "limit=5", "out=DIR"], "Use bs=1, limit=5, or out=DIR."),
    ],
)
def test_choices_are_offered_in_one_sentence(choices, sentence):
    assert offer(*choices) == sentence


@pytest.mark.parametrize(("size", "text"), [(0, "0.00"), (4_999_999, "0.00"), (5_000_001, "0.01"), (12 * GB, "12.00")])
def test_gigabytes_are_decimal(size, text):
    assert in_gb(size) == text


@pytest.mark.parametrize(
    ("free", "plannable"),
    [(0, 0), (GB, GB // 2), (2 * SPARE_BYTES, SPARE_BYTES), (10 * GB, 9 * GB)],
    ids=["none", "little: a half", "where both are the same", "much: all but the spare"],
)
def test_some_of_what_is_free_is_kept(free, plannable):
    assert plannable_bytes(free) == plannable


def test_free_is_what_the_disk_of_a_folder_to_be_has(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        disk.shutil, "disk_usage", lambda folder: asked.append(folder) or SimpleNamespace(total=9, used=4, free=3)
    )
    assert free_bytes(tmp_path / "not" / "yet") == 3
    assert asked == [tmp_path]


def test_the_nearest_folder_that_exists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    assert existing_folder(tmp_path / "a") == tmp_path / "a"
    assert existing_folder(tmp_path / "a" / "b" / "c") == tmp_path / "a"
    assert existing_folder(disk.Path("b/c")) == tmp_path


def test_sizes_of_files_and_folders(tmp_path):
    assert size_of(tmp_path) == size_of(tmp_path / "none") == 0
    (tmp_path / "a").write_bytes(bytes(5))
    (tmp_path / "b").write_bytes(bytes(7))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "c").write_bytes(bytes(9))
    assert size_of(tmp_path / "a") == 5
    assert size_of(tmp_path) == 12  # of the files in it, not of its folders
    (tmp_path / "folder" / "link").symlink_to("gone")
    assert size_of(tmp_path / "folder") == 9
