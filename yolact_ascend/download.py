"""Fetching published files: from a list of mirrors, resumed where the connection broke, checked by size and hash."""

from __future__ import annotations

import hashlib
import http.client
import re
import shutil
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tqdm import tqdm

from yolact_ascend.disk import free_bytes, in_gb
from yolact_ascend.errors import ArtifactError, ToolError, UsageError
from yolact_ascend.files import make_folder

TIMEOUT_S = 30
BLOCK_BYTES = 1 << 20
TRIES = 5  # of one mirror, as long as each brings the file forward
PARTIAL, UNSATISFIABLE = 206, 416  # HTTP
# What a broken or missing connection raises; urllib.error.URLError is an OSError.
NETWORK_ERRORS = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)


@dataclass(frozen=True)
class Published:
    """A file that others publish: its addresses, best first, and what public evidence says of its content."""

    name: str
    urls: tuple[str, ...]
    size_bytes: int | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)  # algorithm of hashlib -> hexadecimal digits
    look: Callable[[Path], str | None] = lambda path: None  # returns why a file is not of the right kind, if it is not


def fetch(published: Published, folder: Path) -> Path:
    """Fetch a file into a folder; return its path. One that is there already is checked, and not fetched again.

    A run that was interrupted continues (`<name>.part`). Raises ToolError when no mirror gives the file, UsageError
    when another file has its name or the disk is too small.
    """
    target, part = folder / published.name, folder / f"{published.name}.part"
    make_folder(folder)
    if target.exists():
        fault = find_fault(target, published)
        if fault:
            raise UsageError(
                f"{target} is there, and is another file: {fault}. Move it, or choose another folder: --to."
            )
        return target
    faults = []
    for url in published.urls:
        try:
            _fetch_from(url, part, published.size_bytes)
        except NETWORK_ERRORS as error:
            faults.append(f"{url}: {describe_network_error(error)}")
            continue
        fault = find_fault(part, published)
        if fault is None:
            part.replace(target)
            return target
        part.unlink()
        faults.append(f"{url} gives another file: {fault}")
    raise ToolError(
        f"{published.name} cannot be fetched. {'; '.join(faults)}. Behind a proxy, set https_proxy; or fetch it on "
        f"another machine and put it at {target}."
    )


def find_fault(path: Path, published: Published) -> str | None:
    """Return how a file differs from the published one; None when it does not, as far as evidence goes."""
    size = path.stat().st_size
    if published.size_bytes not in (None, size):
        return f"{size} bytes, expected {published.size_bytes}"
    for algorithm, expected in published.hashes.items():
        digest = hashlib.new(algorithm)
        with path.open("rb") as file:
            for block in iter(lambda: file.read(BLOCK_BYTES), b""):
                digest.update(block)
        if digest.hexdigest() != expected:
            return f"its {algorithm} is {digest.hexdigest()}, expected {expected}"
    return published.look(path)


def describe_network_error(error: BaseException) -> str:
    """Return a few words on why a server did not answer as wanted."""
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answers {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return f"no connection ({error.reason})"
    return f"the connection broke ({str(error) or type(error).__name__})"


def _fetch_from(url: str, part: Path, size_bytes: int | None) -> None:
    """Fetch what is missing of a file; a connection that breaks is made again as long as that brings something."""
    for remaining in reversed(range(TRIES)):
        before = part.stat().st_size if part.exists() else 0
        try:
            _continue(url, part, before, size_bytes)
        except (http.client.HTTPException, ConnectionError, TimeoutError):
            after = part.stat().st_size if part.exists() else 0
            if not remaining or after <= before:
                raise
        else:
            return


def _continue(url: str, part: Path, begin: int, size_bytes: int | None) -> None:
    """Fetch a file from byte `begin` on, or from where the server begins."""
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={begin}-"} if begin else {})}
    try:
        # An opener of its own, which looks at http_proxy, https_proxy and no_proxy now.
        response = urllib.request.build_opener().open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != UNSATISFIABLE or not begin:
            raise
        if _read_range(error)[1] not in (None, begin):  # the part is of a longer file
            part.unlink()
            _continue(url, part, 0, size_bytes)
        return  # there is no more: it is whole
    with response:
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise http.client.HTTPException(f"the server sends the file packed, as {encoding}")
        begin = _read_range(response)[0] if response.status == PARTIAL else 0
        word = response.headers.get("Content-Length", "")
        length = int(word) if word.isdecimal() else None
        total = size_bytes if length is None else begin + length
        _require_room(part, (total or 0) - begin)
        with part.open("r+b" if part.exists() else "wb") as file, _progress(part, begin, total) as progress:
            file.seek(begin)
            file.truncate()
            _copy(response, file, progress)
        if length is not None and part.stat().st_size < begin + length:
            raise http.client.IncompleteRead(b"")


def _read_range(answer: http.client.HTTPResponse | urllib.error.HTTPError) -> tuple[int, int | None]:
    """Return the first byte and the size of the file by Content-Range, `bytes 7-9/10` or `bytes */10` (RFC 9110)."""
    found = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", answer.headers.get("Content-Range", ""))
    if not found:
        if answer.status == PARTIAL:
            raise http.client.HTTPException("the server sends a part of the file, and does not say which")
        return 0, None
    return int(found[1] or 0), None if found[2] == "*" else int(found[2])


def _copy(source: BinaryIO, file: BinaryIO, progress: tqdm) -> None:
    for block in iter(lambda: source.read(BLOCK_BYTES), b""):
        file.write(block)
        progress.update(len(block))


def _progress(part: Path, begin: int, total: int | None) -> tqdm:
    return tqdm(desc=part.stem, initial=begin, total=total, unit="B", unit_scale=True)


def _require_room(part: Path, needed_bytes: int) -> None:
    free = free_bytes(part.parent)
    if needed_bytes > free:
        raise UsageError(
            f"{part.stem} takes {in_gb(needed_bytes)} GB more at {part.parent}, where {in_gb(free)} GB are free. Free "
            "some, or choose another folder: --to."
        )


def unpack(archive: Path, folder: Path, wanted: Iterable[str] = ("",)) -> int:
    """Unpack the members of a zip archive that begin with one of `wanted`; return how many were not there yet.

    Files that are there with their size are kept. Raises ArtifactError for a broken archive, or one with members that
    would land elsewhere.
    """
    try:
        with zipfile.ZipFile(archive) as packed:
            members = [m for m in packed.infolist() if not m.is_dir() and m.filename.startswith(tuple(wanted))]
            for member in members:
                path = PurePosixPath(member.filename)
                if path.is_absolute() or ".." in path.parts:
                    raise ArtifactError(f"{archive} holds {member.filename}, which would land outside of {folder}.")
            missing = [m for m in members if not _is_there(folder / m.filename, m.file_size)]
            for member in tqdm(missing, desc=f"unpack {archive.name}", unit="file"):
                target = folder / member.filename
                make_folder(target.parent)
                temporary = target.with_name(f".{target.name}.part")
                with packed.open(member) as source, temporary.open("wb") as file:
                    shutil.copyfileobj(source, file, BLOCK_BYTES)
                temporary.replace(target)
    except zipfile.BadZipFile as error:
        raise ArtifactError(f"{archive} is damaged ({error}). Delete it, and fetch it again.") from error
    return len(missing)


def _is_there(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size
