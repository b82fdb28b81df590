"""Writing files whole or not at all, reading JSON, and hashes. Nothing here knows what a file means."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from yolact_ascend import __version__
from yolact_ascend.errors import ArtifactError

PACKAGE = Path(__file__).resolve().parent
_SHARE = PACKAGE / "share"  # only in an installed package: setup.py copies there what lies beside it in a checkout
IS_CHECKOUT = not _SHARE.is_dir()

# ais_bench refuses inputs that group or others may write, and output folders that others may even read.
FILE_MODE = 0o640
FOLDER_MODE = 0o750

PART = ".part"  # of a file that is being written
MOST_STEM_BYTES = 200  # Linux has 255 for a name; a number, an ending and those of an unfinished file are added


def shipped(name: str) -> Path:
    """Return a file or folder that comes with the project, by its path in a checkout; nothing is written there."""
    return (PACKAGE.parent if IS_CHECKOUT else _SHARE) / name


def how_to_restore(name: str) -> str:
    """Return the command that brings such a file or folder back as it was."""
    wheel = f"yolact_ascend-{__version__}-py3-none-any.whl"  # on no index
    return f"git checkout {name}" if IS_CHECKOUT else f"pip install --force-reinstall --no-deps {wheel}"


def distinct_stems(paths: Iterable[Path], others: Iterable[str] = ()) -> list[str]:
    """Return a file name without ending for each path: its own stem, numbered where that is taken.

    Nothing else of a path is used, wherever it leads. Long stems are cut, and letters that cannot be printed replaced.
    """
    others = set(others)
    taken: dict[str, None] = {}
    for path in paths:
        stem = _safe_stem(path.stem)
        numbered = (f"{stem}_{number}" for number in itertools.count(2))
        choices = itertools.chain([stem], numbered)
        taken[next(name for name in choices if name not in taken and name not in others)] = None
    return list(taken)


def _safe_stem(stem: str) -> str:
    printable = "".join(letter if letter.isprintable() and letter not in "/\\" else "_" for letter in stem)
    return printable.encode()[:MOST_STEM_BYTES].decode(errors="ignore") or "_"


def make_folder(path: Path) -> None:
    """Create a folder (mode 0750) and its parents; raises ArtifactError when that is impossible."""
    try:
        path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(f"Cannot create the folder {path}: {error.strerror}. Choose another place.") from error


@contextlib.contextmanager
def atomic_path(path: Path, is_swept: bool = False, ending: str = PART) -> Iterator[Path]:
    """Yield a temporary name beside `path`; rename it to `path` on success, remove it on any failure.

    So a file under its final name is always whole. `is_swept`: the folder holds no leftovers of a killed run, so none
    are searched for, which takes milliseconds in a folder of thousands. `ending` is the temporary name's, for libraries
    that insist on one. Raises ArtifactError when the disk is full or not writable.
    """
    with _atomic_file(path, is_swept, ending) as (temporary, descriptor):
        os.close(descriptor)
        yield temporary


@contextlib.contextmanager
def _atomic_file(path: Path, is_swept: bool, ending: str) -> Iterator[tuple[Path, int]]:
    """Do what `atomic_path` says; yield also the descriptor of the temporary file, which the caller closes."""
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{ending}")
    try:
        if not is_swept:
            for left_behind in path.parent.glob(f".{glob.escape(path.name)}.*{ending}"):  # by a run that was killed
                left_behind.unlink()
        # With its mode from the start: ais_bench refuses a folder for one entry that group or others may write.
        yield temporary, os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, FILE_MODE)
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if not isinstance(error, OSError) or error.filename not in (None, str(path), str(temporary)):
            raise  # not of this file, but of the work inside
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ArtifactError(
                f"No room to write {path}: {error.strerror}. Free space or choose another work folder, then rerun the "
                "same command; finished work is kept."
            ) from error
        raise ArtifactError(f"Cannot write {path}: {error.strerror or error}.") from error


@contextlib.contextmanager
def path_in_memory(name: str) -> Iterator[Path]:
    """Give the path of a file that is in no folder, so that nothing is left of it, whatever ends this process."""
    descriptor = os.memfd_create(name)
    try:
        yield Path(f"/proc/{os.getpid()}/fd/{descriptor}")
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes | memoryview, is_swept: bool = False) -> None:
    """Write a whole file atomically."""
    with _atomic_file(path, is_swept, PART) as (_, descriptor), os.fdopen(descriptor, "wb") as file:
        file.write(data)


def write_json(path: Path, value: Any, indent: int | None = 2) -> None:
    """Write a JSON file atomically; `indent=None` gives the compact form for long lists."""
    write_bytes(path, (json.dumps(value, indent=indent) + "\n").encode())


def read_json(path: Path, what: str) -> Any:
    """Read a JSON file; raises ArtifactError, naming `what` the file is, when it is missing or not JSON."""
    with json_errors(path, what):
        return parse_json(path.read_text(encoding="utf-8-sig"))  # with a byte-order mark, or without


@contextlib.contextmanager
def json_errors(path: Path, what: str) -> Iterator[None]:
    """Turn the errors of reading a JSON file into the sentence that `read_json` raises."""
    try:
        yield
    except FileNotFoundError:
        raise ArtifactError(f"There is no {path} ({what}).") from None
    except ValueError as error:
        raise ArtifactError(f"{path} ({what}) is not JSON: {error}. Fix or replace the file.") from error
    except MemoryError:
        size = f"{path.stat().st_size / 1e6:.0f} MB"
        raise ArtifactError(f"Reading {path} ({what}, {size}) takes more memory than there is.") from None
    except OSError as error:
        raise ArtifactError(f"Cannot read {path} ({what}): {error.strerror}.") from error


def parse_json(text: str | bytes, decode: Callable[[Any], Any] = json.loads) -> Any:
    """Return the value of a JSON text; raises ValueError that says why it has none, or none that Python can hold."""
    try:
        return decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply to be read") from None
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise
    except ValueError:  # since Python 3.11, and in security releases before: CVE-2020-10735
        raise ValueError("it has a whole number of thousands of digits") from None


def sha256_file(path: Path) -> str:
    """Return a file's SHA-256 as hexadecimal digits; raises ArtifactError when it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    except OSError as error:
        raise ArtifactError(f"Cannot read {path}: {error.strerror}.") from error
    return digest.hexdigest()


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of bytes as hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def digest_files(paths: Iterable[Path]) -> str:
    """Return a short hash of files' names and contents, in the order given; raises ArtifactError like `sha256_file`."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name} {sha256_file(path)}\n".encode())
    return digest.hexdigest()[:16]


def digest(value: Any) -> str:
    """Return a short hash of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def as_json(value: dict[str, Any]) -> dict[str, Any]:
    """Return the value as it would be read back: tuples become lists."""
    return json.loads(json.dumps(value))
