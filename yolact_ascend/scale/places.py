"""Places of files: local folders, and the stores that pyarrow or fsspec know (s3://, gs://, hdfs://, memory://, …)."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from yolact_ascend.errors import ArtifactError, UsageError
from yolact_ascend.files import PART, atomic_path

SCHEMES_OF_ARROW = ("file", "s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss")  # pyarrow's own; the rest: fsspec
GOOGLE_S = 60  # that Google's store may not answer: Arrow tries for 15 minutes (GcsOptions, retry_limit_seconds)
RESUME = "Finished shards are kept; rerun the same command to resume."


@dataclass(frozen=True)
class Place:
    """A file or folder somewhere; `name` is for sentences, and has no passwords in it.

    Its methods raise ArtifactError when the store does not do what is asked.
    """

    system: fs.FileSystem
    path: str
    name: str

    def __truediv__(self, below: str) -> Place:
        return Place(self.system, f"{self.path.rstrip('/')}/{below}", f"{self.name.rstrip('/')}/{below}")

    @property
    def is_local(self) -> bool:
        """Whether it is in a file system of this host, or one that is mounted here."""
        return isinstance(self.system, fs.LocalFileSystem)

    @property
    def kind(self) -> fs.FileType:
        """File, Directory or NotFound."""
        with self._spoken("look at"):
            return self.system.get_file_info(self.path).type

    def read(self) -> bytes:
        """Return the content of a file."""
        with self._spoken("read"), self.system.open_input_stream(self.path) as file:
            return file.read()

    @contextlib.contextmanager
    def opened(self) -> Iterator[pa.NativeFile]:
        """Give a file that can be read anywhere."""
        with self._spoken("read"), self.system.open_input_file(self.path) as file:
            yield file

    def files(self) -> list[str]:
        """Return the paths of all files below this folder, as the store has them; none where there is no folder."""
        with self._spoken("list"):
            found = self.system.get_file_info(fs.FileSelector(self.path, allow_not_found=True, recursive=True))
        return [info.path for info in found if info.type == fs.FileType.File]

    def write(self, data: bytes | pa.Buffer) -> None:
        """Write a whole file, in place of an earlier one: aside and renamed, or as one object of a store.

        Several processes may write the same file; each has a temporary file of its own.
        """
        if self.is_local:
            with self.aside() as path, path.open("r+b") as local:
                local.write(data)
            return
        with self._opened_anew() as file:
            file.write(data)

    @contextlib.contextmanager
    def aside(self) -> Iterator[Path]:
        """Give the path of a local file; when the block ends, its content is written like that of `write`."""
        if self.is_local:
            own = f".{uuid.uuid4().hex}{PART}"
            with atomic_path(Path(self.path), is_swept=True, ending=own) as path:
                yield path
            return
        with tempfile.TemporaryDirectory(prefix="yolact-ascend-") as folder:
            path = Path(folder) / "aside"
            yield path
            self.copy_from(path)

    def copy_from(self, path: Path) -> None:
        """Write what a local file holds."""
        with path.open("rb") as source, self._opened_anew() as file:
            shutil.copyfileobj(source, file, 1 << 20)

    @contextlib.contextmanager
    def _opened_anew(self) -> Iterator[pa.NativeFile]:
        with self._spoken("write"):
            if not isinstance(self.system, fs.S3FileSystem):  # which has no folders
                self.system.create_dir(self.path.rpartition("/")[0], recursive=True)
            with self.system.open_output_stream(self.path) as file:
                yield file

    def _spoken(self, what: str) -> contextlib.AbstractContextManager[None]:
        return _spoken(f"{what} {self.name}")


@contextlib.contextmanager
def _spoken(what: str) -> Iterator[None]:
    """Turn errors of a store into a sentence; what an inner block raises of ours passes."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise ArtifactError(
            f"Cannot {what}: {reason}. Is the store reachable, with room in it and access for this user? {RESUME}"
        ) from error


def find_place(word: str) -> Place:
    """Return the place that a path or URI names.

    Raises UsageError when no library knows such a URI, ArtifactError when its store does not answer.
    """
    if "://" not in word:
        return Place(fs.LocalFileSystem(), absolute(word), word)
    scheme, name = word.split("://")[0], without_secrets(word)
    with _spoken(f"use {name}"):
        try:
            if scheme in SCHEMES_OF_ARROW:
                known, path = fs.FileSystem.from_uri(_with_limit(word) if scheme in ("gs", "gcs") else word)
                return Place(known, path, name)
            from fsspec.core import url_to_fs

            system, path = url_to_fs(word)
            return Place(fs.PyFileSystem(fs.FSSpecHandler(system)), path, name)
        except (ValueError, ImportError) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise UsageError(
                f"Cannot use {name}: {reason}. Pass a path, or a URI that pyarrow or fsspec knows."
            ) from error


def require_apart(source: str, out: str) -> None:
    """Raise UsageError where `out` is the source or lies in it: parts would be listed as tables of pictures."""
    folder, below = (f"{without_secrets(absolute(word)).rstrip('/')}/" for word in (source, out))
    if below.startswith(folder):
        raise UsageError(f"--out={without_secrets(out)} lies in {without_secrets(source)}. Pass a folder elsewhere.")


def _with_limit(uri: str) -> str:
    """Return a URI of Google's store with a limit of time, if it has none."""
    if "retry_limit_seconds=" in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}retry_limit_seconds={GOOGLE_S}"


def absolute(word: str) -> str:
    """Return a path as one that names the same from each current folder; a URI as it is."""
    return word if "://" in word else str(Path(word).expanduser().absolute())


def has_password(uri: str) -> bool:
    """Whether a path or URI has a user's password in it."""
    return re.search(r"://[^/@]*:[^/@]*@", uri) is not None


def without_secrets(uri: str) -> str:
    """Return a URI without user, password and options."""
    return re.sub(r"://[^/@]*@", "://", uri.partition("?")[0])
