"""Folders that we write to: one program at a time works in one, and overwrites or removes only files that we made."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from yolact_ascend.errors import ArtifactError, FolderInUseError, UsageError
from yolact_ascend.files import FILE_MODE, make_folder, read_json, write_json

LOCK = ".lock"
LEDGER = ".yolact-ascend.json"
WAIT_S = 0.1  # between two looks at a folder that another program holds
MOMENT_S = 0.5  # that a program of an earlier run may take to end
_held: dict[Path, int] = {}  # folders of this process, and the descriptors of their locks
# A file system without locks: NFS without a lock server, some FUSE and network mounts.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


def _lock_soon(descriptor: int) -> None:
    """Lock a file; raises BlockingIOError when another still holds it after a moment, in which programs end."""
    until = time.monotonic() + MOMENT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > until:
                raise
            time.sleep(WAIT_S)


@contextlib.contextmanager
def lock_folder(folder: Path, advice: str = "out=DIR") -> Iterator[int]:
    """Hold a folder for one run; gives the lock's file descriptor.

    Programs that inherit the descriptor hold the lock, too: when a run is killed and its ais_bench lives on, the next
    run is refused until that one ends, instead of mixing with its outputs. Where the file system has no locks, that is
    said, and the run goes on. A folder that this process holds already is held by it. Raises UsageError when another
    holds it, or `.lock` is a link.
    """
    make_folder(folder)
    place = folder.resolve()
    if place in _held:
        yield _held[place]
        return
    try:
        descriptor = open_own(folder / LOCK)
    except PermissionError as error:
        raise ArtifactError(f"{folder} may not be written by this user. Choose another folder: {advice}.") from error
    try:
        _lock_soon(descriptor)
    except BlockingIOError:
        os.close(descriptor)
        raise FolderInUseError(
            f"Another run, or a program left behind by a killed run, is still using {folder}. "
            f"Wait for it to finish, stop it, or choose another work folder: {advice}."
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            os.close(descriptor)
            raise
        print(
            f"warning: the file system of {folder} has no locks ({error.strerror}): a second run in this folder would "
            "not be noticed. Start only one at a time.",
            file=sys.stderr,
            flush=True,
        )
    _held[place] = descriptor
    try:
        yield descriptor
    finally:
        del _held[place]
        os.close(descriptor)


@contextlib.contextmanager
def wait_for_folder(folder: Path) -> Iterator[None]:
    """Hold a folder like `lock_folder`, but wait until another program that holds it has ended."""
    while True:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(lock_folder(folder))
            except FolderInUseError:
                time.sleep(WAIT_S)
                continue
            yield
            return


@contextlib.contextmanager
def hold_results(folder: Path, files: Iterable[Path], advice: str, trusts_all: bool = False) -> Iterator[None]:
    """Hold a folder for the files of one command, which only that command's earlier runs may have made.

    `trusts_all` as in Ledger.
    Raises UsageError when another program is at work there, or one of the files is somebody else's.
    """
    with lock_folder(folder, advice):
        Ledger(folder, trusts_all=trusts_all).claim(files, advice)
        yield


def require_results(folder: Path, files: Iterable[Path], advice: str) -> None:
    """Raise UsageError when one of the files is somebody else's, like `hold_results`; nothing is made or held."""
    Ledger(folder).require(files, advice)


def open_own(path: Path) -> int:
    """Open a file that we write in place (a lock, a log) at its end; gives its descriptor.

    It is neither cut, nor reached through a link: the file behind a link is somebody else's. Raises UsageError for a
    link, OSError otherwise.
    """
    try:
        return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, FILE_MODE)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise UsageError(
            f"{path} is a link to {path.readlink()}, which would be written to. Remove the link, or choose another "
            "folder."
        ) from error


def has_locks(folder: Path) -> bool:
    """Whether the file system of a folder has locks; nothing stays in it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return True
    except OSError as error:  # such as that another program holds the folder itself
        return error.errno not in _NO_LOCKS
    finally:
        os.close(descriptor)


class Ledger:
    """Names the files and folders below a folder that we made, or are about to make: the only ones that we replace.

    A name is the path from the folder; where a link leads out of the folder, the whole path behind it. So a link that
    is put there later leads to nothing of ours.
    """

    def __init__(self, folder: Path, trusts_all: bool = False) -> None:
        """`trusts_all`: the folder is of a version that had no ledger, and what we write is taken for ours."""
        self._folder = folder
        self._file = folder / LEDGER
        self._trusts_all = trusts_all
        self._names: dict[str, None] = dict.fromkeys(self._read())
        self._resolve = cache(Path.resolve)

    def owns(self, path: Path) -> bool:
        """Whether a file or folder is ours."""
        return self._name(path) in self._names

    def within(self, folder: Path) -> list[Path]:
        """Return our files directly in a folder."""
        found = (Path(name) for name in self._names)
        paths = [path if path.is_absolute() else self._resolve(self._folder) / path for path in found]
        return [folder / path.name for path in paths if path.parent == self._resolve(folder)]

    def claim(self, paths: Iterable[Path], advice: str) -> None:
        """Note that these are going to be made. A folder that is noted is ours with everything in it.

        Raises UsageError like `require`.
        """
        new = self.require(paths, advice)
        if new:
            self._save({**self._names, **dict.fromkeys(new)})

    def require(self, paths: Iterable[Path], advice: str) -> list[str]:
        """Return the names of those that are not ours yet.

        Raises UsageError when one of them is there and is not empty; `advice` names another place.
        """
        new = {name: path for path in paths if (name := self._name(path)) not in self._names}
        if not self._trusts_all:
            require_none_of_others(list(new.values()), advice)
        return list(new)

    def remove(self, paths: Iterable[Path]) -> None:
        """Remove those of the files that are ours, and their names."""
        ours = {name: path for path in paths if (name := self._name(path)) in self._names}
        for path in ours.values():
            path.unlink(missing_ok=True)
        if ours:
            self._save({name: None for name in self._names if name not in ours})

    def _read(self) -> list[str]:
        names = read_json(self._file, "the list of our files") if self._file.exists() else []
        if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise ArtifactError(f"{self._file} is not a list of files. Choose another folder, or restore that file.")
        return names

    def _save(self, names: dict[str, None]) -> None:
        write_json(self._file, list(names), indent=None)
        self._names = names

    def _name(self, path: Path) -> str:
        folder, parent = self._resolve(self._folder), self._resolve(path.parent)
        place = parent / path.name
        # A link in the place of a folder: what we would fill or empty is behind it.
        place = self._resolve(place) if place.is_dir() else place
        return str(place.relative_to(folder)) if folder in place.parents else str(place)


def require_none_of_others(paths: Sequence[Path], advice: str) -> None:
    """Raise UsageError when there is a file, or a folder with something inside, at one of the paths."""
    foreign = [path for path in paths if _holds_something(path)]
    if foreign:
        more = f" (and {len(foreign) - 1} more)" if len(foreign) > 1 else ""
        raise UsageError(
            f"{foreign[0]} was not made by an earlier run in this folder, and would be overwritten{more}. Move it "
            f"away, or choose another folder: {advice}."
        )


def _holds_something(path: Path) -> bool:
    if path.is_dir():
        return any(path.iterdir())
    return os.path.lexists(path)
