"""Folders that we write to: their lock, and which files in them are ours."""

import errno
import fcntl
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from yolact_ascend.errors import ArtifactError, FolderInUseError, UsageError
from yolact_ascend.folders import LEDGER, LOCK, Ledger, has_locks, hold_results, lock_folder, open_own, wait_for_folder

OTHERS_LOCK = """
import fcntl, sys
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
input()
"""


@pytest.fixture
def other(tmp_path):
    """Another program that holds the folder until a line comes."""
    command = [sys.executable, "-c", OTHERS_LOCK, str(tmp_path / LOCK)]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    yield other
    if other.poll() is None:
        other.communicate("\n")


@pytest.fixture
def held_by_another(other, tmp_path):
    return tmp_path


def test_a_folder_in_use_is_refused_and_another_place_is_named(held_by_another):
    with pytest.raises(UsageError, match="Another run.*: --here=DIR"), lock_folder(held_by_another, "--here=DIR"):
        pass


def test_a_folder_in_use_can_be_waited_for(held_by_another, other, monkeypatch):
    """The other program ends while this one waits."""
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        with pytest.raises(FolderInUseError), lock_folder(held_by_another):
            pass
        other.communicate("\n", timeout=30)

    monkeypatch.setattr("yolact_ascend.folders.time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
    monkeypatch.setattr("yolact_ascend.folders.MOMENT_S", -1)
    with wait_for_folder(held_by_another), pytest.raises(BlockingIOError), (held_by_another / LOCK).open() as file:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    assert len(waits) == 1


def test_a_lock_ends_with_its_block_and_is_shared_within_a_process(tmp_path):
    with lock_folder(tmp_path) as lock, lock_folder(tmp_path / "x" / "..") as again:
        assert lock == again
    with lock_folder(tmp_path), (tmp_path / LOCK).open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    with (tmp_path / LOCK).open() as file:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)


def test_a_program_that_outlives_its_run_keeps_the_folder(tmp_path):
    with lock_folder(tmp_path) as lock:
        child = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, pass_fds=[lock]
        )
    try:
        with pytest.raises(UsageError, match="a program left behind by a killed run"), lock_folder(tmp_path):
            pass
    finally:
        child.communicate(b"\n")
    with lock_folder(tmp_path):
        pass


@pytest.mark.parametrize("name", [LOCK, "run.log"])
def test_what_we_write_in_place_is_neither_cut_nor_reached_through_a_link(tmp_path, name):
    own, foreign = tmp_path / "own", tmp_path / "foreign.txt"
    own.mkdir()
    (own / name).write_text("before\n")
    with os.fdopen(open_own(own / name), "ab") as file:
        file.write(b"after\n")
    assert (own / name).read_text() == "before\nafter\n"
    foreign.write_text("precious")
    (own / name).unlink()
    (own / name).symlink_to(foreign)
    with pytest.raises(UsageError, match=rf"{name} is a link to .*foreign\.txt"):
        open_own(own / name)
    assert foreign.read_text() == "precious"


def test_without_locks_a_run_goes_on_and_says_so(tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with lock_folder(tmp_path):
        pass
    assert "has no locks (No locks available)" in capsys.readouterr().err
    assert not has_locks(tmp_path)


def test_to_look_for_locks_leaves_nothing(tmp_path):
    assert has_locks(tmp_path) and not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["file", "broken link", "folder with a file"])
def test_what_others_made_is_refused_and_named(tmp_path, kind):
    path = tmp_path / "out"
    if kind == "file":
        path.write_text("precious")
    elif kind == "broken link":
        path.symlink_to(tmp_path / "nowhere")
    else:
        path.mkdir()
        (path / "1_0.bin").write_text("precious")
    (tmp_path / "other").touch()
    with pytest.raises(UsageError, match=r"out was not made by an earlier run .*\(and 1 more\).*: out=DIR"):
        Ledger(tmp_path).claim([path, tmp_path / "other"], "out=DIR")
    assert not (tmp_path / LEDGER).exists()


def test_what_was_claimed_is_ours_from_then_on(tmp_path):
    folder, file = tmp_path / "bins", tmp_path / "a.json"
    folder.mkdir()
    Ledger(tmp_path).claim([folder, file], "out=DIR")
    (folder / "0.bin").touch()
    file.touch()
    Ledger(tmp_path).claim([folder, file], "out=DIR")
    ledger = Ledger(tmp_path)
    assert ledger.owns(folder) and ledger.owns(file) and not ledger.owns(folder / "0.bin")
    assert ledger.within(tmp_path) == [folder, file]


def test_only_ours_is_removed_and_then_no_longer_ours(tmp_path):
    ours, foreign = tmp_path / "a.jpg", tmp_path / "b.jpg"
    Ledger(tmp_path).claim([ours], "out=DIR")
    ours.touch()
    foreign.touch()
    Ledger(tmp_path).remove([ours, foreign])
    assert not ours.exists() and foreign.exists()
    ours.touch()  # by the user
    Ledger(tmp_path).remove([ours])
    assert ours.exists()


def test_a_link_that_is_put_in_place_later_leads_to_nothing_of_ours(tmp_path):
    """The folder of pictures is exchanged for a link to a folder that holds a picture of the same name."""
    work, photographs = tmp_path / "work", tmp_path / "photographs"
    for folder in (work / "overlays", photographs):
        folder.mkdir(parents=True)
    Ledger(work).claim([work / "overlays" / "a.jpg", work / "bins"], "out=DIR")
    (work / "overlays").rmdir()
    for name in ("overlays", "bins"):
        (work / name).symlink_to(photographs)
    (photographs / "a.jpg").write_text("precious")
    ledger = Ledger(work)
    assert ledger.within(work / "overlays") == []
    ledger.remove([work / "overlays" / "a.jpg"])
    for path in (work / "overlays" / "a.jpg", work / "bins"):
        with pytest.raises(UsageError, match=f"{path} was not made"):
            ledger.claim([path], "out=DIR")
    assert (photographs / "a.jpg").read_text() == "precious"


def test_a_link_to_another_disk_is_taken_and_the_work_folder_can_be_moved(tmp_path):
    work, disk, moved = tmp_path / "work", tmp_path / "disk", tmp_path / "moved"
    work.mkdir()
    disk.mkdir()
    (work / "bins").symlink_to(disk)
    Ledger(work).claim([work / "bins", work / "a"], "out=DIR")
    (disk / "0.bin").touch()
    (work / "a").touch()
    work.rename(moved)
    Ledger(moved).claim([moved / "bins", moved / "a"], "out=DIR")


def test_a_folder_of_a_version_without_a_ledger_is_trusted(tmp_path):
    (tmp_path / "a").touch()
    with hold_results(tmp_path, [tmp_path / "a"], "out=DIR", trusts_all=True):
        pass
    assert Ledger(tmp_path).owns(tmp_path / "a")


@pytest.mark.parametrize("content", ["{}", "[1]", '"a"', "["])
def test_a_damaged_ledger_is_a_sentence(tmp_path, content):
    (tmp_path / LEDGER).write_text(content)
    with pytest.raises(ArtifactError, match=f"{LEDGER} "):
        Ledger(tmp_path)


def test_a_folder_that_may_not_be_written_is_named_with_another_place(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("yolact_ascend.folders.open_own", refuse)  # root may write everywhere
    said = r"may not be written by this user. Choose another folder: --out=DIR\."
    with pytest.raises(ArtifactError, match=said), lock_folder(tmp_path, "--out=DIR"):
        pass
