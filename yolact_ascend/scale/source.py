"""What a SOURCE holds: one entry for each picture, from a folder, a list, tar archives or Parquet tables."""

from __future__ import annotations

import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from yolact_ascend.errors import DatasetError, show_name
from yolact_ascend.images.coco import list_some
from yolact_ascend.images.decode import IMAGE_SUFFIXES
from yolact_ascend.scale.places import Place, find_place, has_password, without_secrets

ARCHIVE, TABLE, LIST = ".tar", ".parquet", ".txt"
WHOLE = -1  # the place of a picture that is a file
# Columns of tables, the first that is there. `image` may be a struct of bytes and path, as `datasets` writes it.
BYTES_COLUMNS = ("bytes", "image_bytes", "image", "jpg", "jpeg", "png")
PATH_COLUMNS = ("path", "file_name", "file", "uri", "url")
ACCEPTED = "a folder or list (.txt) of images, WebDataset archives (.tar), or Parquet tables (.parquet)"


class Entry(NamedTuple):
    """One picture of a source; `place` is its offset in an archive, or its row in a table."""

    name: str  # once in a source
    file: str  # below the source's folder, or absolute, or a URI
    place: int = WHOLE
    size: int = 0  # bytes, in an archive


def list_source(word: str) -> list[Entry]:
    """Return the pictures of a source by name; raises DatasetError for a source without them, with a name
    twice, or with a password.
    """
    root = find_place(word)
    kind = root.kind
    if kind == fs.FileType.NotFound:
        raise DatasetError(f"There is no {root.name}. Pass {ACCEPTED}.")
    if kind == fs.FileType.Directory:
        length = len(root.path.rstrip("/")) + 1
        entries = _list_files(root, [path[length:] for path in root.files()])
    else:
        entries = _list_files(parent_of(root), [PurePosixPath(root.path).name], has_list=True)
    if not entries:
        raise DatasetError(f"{root.name} holds no images. Pass {ACCEPTED}.")
    twice = [name for name, count in Counter(entry.name for entry in entries).items() if count > 1]
    secret = next((entry.file for entry in entries if has_password(entry.file)), None)
    if secret is not None:
        raise DatasetError(
            f"{root.name} lists a URI with a password, which plan and parts would repeat: {without_secrets(secret)}. "
            "Leave it out, and pass it as the store's library takes it, such as by AWS_SECRET_ACCESS_KEY."
        )
    if twice:
        names = list_some([show_name(name) for name in twice])
        raise DatasetError(f"{root.name} has {len(twice)} names more than once: {names}. Give each image a name.")
    return sorted(entries, key=lambda entry: (entry.file, entry.place))  # as they lie: a shard reads few files


def folder_of(word: str) -> Place:
    """Return the folder that the files of a source's entries are below."""
    root = find_place(word)
    return root if root.kind == fs.FileType.Directory else parent_of(root)


def parent_of(place: Place) -> Place:
    """Return the folder that a file is in."""
    return Place(place.system, place.path.rpartition("/")[0] or "/", place.name.rpartition("/")[0] or ".")


def place_of(folder: Place, file: str) -> Place:
    """Return where the file of an entry is."""
    if "://" in file:
        return find_place(file)
    return Place(folder.system, file, file) if file.startswith("/") else folder / file


def _list_files(folder: Place, files: list[str], has_list: bool = False) -> list[Entry]:
    """Return the entries of files below a folder, which must be of one kind."""
    readers: dict[str, Callable[[Place, str], Iterable[Entry]]] = {ARCHIVE: _list_archive, TABLE: _list_table}
    if has_list:
        readers[LIST] = _list_lines
    found: dict[str, list[str]] = {}
    for file in files:
        suffix = PurePosixPath(file).suffix.lower()
        found.setdefault("image" if suffix in IMAGE_SUFFIXES else suffix, []).append(file)
    kinds = [kind for kind in ("image", *readers) if kind in found]
    if len(kinds) > 1:
        raise DatasetError(f"{folder.name} holds {' and '.join(kinds)} files. Pass a folder with one kind of them.")
    if kinds in ([], ["image"]):
        return [Entry(file, file) for file in found.get("image", [])]
    return [entry for file in sorted(found[kinds[0]]) for entry in readers[kinds[0]](folder, file)]


def _list_lines(folder: Place, file: str) -> Iterator[Entry]:
    """Give the pictures that a text file lists, one a line; paths are below its folder."""
    lines = place_of(folder, file).read().decode("utf-8-sig", errors="surrogateescape").splitlines()
    return (Entry(line.strip(), line.strip()) for line in lines if line.strip())


def _list_archive(folder: Place, file: str) -> Iterator[Entry]:
    """Give the pictures of a tar archive, which is read by its headers alone."""
    place = place_of(folder, file)
    with place.opened() as opened:
        try:
            with tarfile.open(fileobj=opened, mode="r:") as archive:
                for member in archive:
                    if member.isreg() and PurePosixPath(member.name).suffix.lower() in IMAGE_SUFFIXES:
                        yield Entry(f"{file}/{member.name}", file, member.offset_data, member.size)
        except tarfile.TarError as error:
            raise DatasetError(
                f"{place.name} is not a whole, uncompressed tar archive: {error}. Make it again."
            ) from error


def _list_table(folder: Place, file: str) -> Iterator[Entry]:
    """Give the pictures of a Parquet table: paths below its folder, or bytes, which are not read here."""
    place = place_of(folder, file)
    with place.opened() as opened, opened_table(opened, place) as table:
        schema = table.schema_arrow
        data, path = bytes_column(schema), _first(schema, PATH_COLUMNS)
        if data is None and path is None:
            columns = ", ".join((*BYTES_COLUMNS, *PATH_COLUMNS))
            raise DatasetError(f"{place.name} has the columns {', '.join(schema.names)}, expected one of {columns}.")
        if data is not None and path is None and data.endswith(".bytes"):
            path = f"{data.removesuffix('.bytes')}.path"
        for row, name in enumerate(_texts(table, path)):
            if data is None:
                yield Entry(name, name)
            else:
                yield Entry(f"{file}/{name or f'{row:09d}'}", file, row)


def _texts(table: pq.ParquetFile, column: str | None) -> Iterator[str]:
    """Give the texts of a column, row by row; "" where there is none."""
    if column is None:
        yield from [""] * table.metadata.num_rows
        return
    for batch in table.iter_batches(columns=[column]):
        values: list[Any] = batch.column(0).to_pylist()
        for value in values:
            yield (value.get("path") if isinstance(value, dict) else value) or ""


def bytes_column(schema: pa.Schema) -> str | None:
    """Return the column of a table, or the part of a column, that holds encoded pictures; None: there is none."""
    for name in BYTES_COLUMNS:
        if name in schema.names:
            kind = schema.field(name).type
            if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
                return name
            if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
                return f"{name}.bytes"
    return None


def opened_table(opened: pa.NativeFile, place: Place) -> pq.ParquetFile:
    """Open a Parquet file; raises DatasetError when it is none."""
    try:
        return pq.ParquetFile(opened)
    except pa.ArrowInvalid as error:
        raise DatasetError(
            f"{place.name} is not a Parquet table: {str(error).splitlines()[0]} Copy it again."
        ) from error


def _first(schema: pa.Schema, names: Iterable[str]) -> str | None:
    return next((name for name in names if name in schema.names), None)
