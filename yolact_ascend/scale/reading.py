"""The pictures of a shard, from wherever they are, a few ahead of the stream that takes them."""

from __future__ import annotations

import bisect
import itertools
import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs

from yolact_ascend.errors import ArtifactError, DatasetError
from yolact_ascend.images.coco import CocoImage, Inspection
from yolact_ascend.images.pictures import is_turned_as_listed, look_at, require_proportions
from yolact_ascend.images.reader import PictureSource
from yolact_ascend.models.config import Preprocessing
from yolact_ascend.scale.manifest import Image
from yolact_ascend.scale.places import Place
from yolact_ascend.scale.source import TABLE, WHOLE, Entry, bytes_column, opened_table, place_of
from yolact_ascend.workers import map_by_threads

THREADS, AHEAD = 8, 32  # of reading: threads that wait for a store, pictures in memory
KEPT_GROUPS = 2  # row groups of tables in memory


class Reader:
    """Reads the pictures of a source."""

    def __init__(self, folder: Place, preprocessing: Preprocessing) -> None:
        self._folder, self._preprocessing = folder, preprocessing
        self._one_at_a_time = threading.Lock()  # of the threads that need the same row group
        self._group = lru_cache(KEPT_GROUPS)(self._read_group)
        self._counts = lru_cache(KEPT_GROUPS)(self._count_rows)

    def read_all(self, images: Sequence[Image]) -> Iterator[PictureSource]:
        """Give the pictures in order; one that is none has a failure. Raises ArtifactError when the store is lost."""
        return map_by_threads(self.read, images, min(THREADS, len(images)), AHEAD)

    def read(self, image: Image) -> PictureSource:
        """Return one picture, as `stream` reads it where its size is annotated."""
        name = image.entry.name
        try:
            content = self._content(image)
            if image.size is None:
                return PictureSource(content, name)
            is_turned = self._look_at(image, content)
        except DatasetError as error:
            return PictureSource(b"", name, failure=str(error))
        return PictureSource(content, name, image.size, is_turned, is_cut_taken=True)

    def _look_at(self, image: Image, content: Path | bytes) -> bool:
        """Return whether the picture is turned by EXIF; raises DatasetError when its boxes would be wrong."""
        assert image.size is not None
        listed = (image.size[1], image.size[0])
        picture = look_at(content, image.entry.name)
        if listed not in picture[:2]:
            annotated = CocoImage(image.image_id, Path(image.entry.name), *listed)
            require_proportions(
                Inspection((annotated,), (), (), (), ((annotated, picture.shown),)), self._preprocessing
            )
        return is_turned_as_listed(picture, listed)

    def _content(self, image: Image) -> Path | bytes:
        """Return a path, which a worker reads, or bytes; raises DatasetError when there is no such picture."""
        entry = image.entry
        place = place_of(self._folder, entry.file)
        if place.is_local and entry.place == WHOLE:
            if not Path(place.path).is_file():
                self._require_folder()
                raise DatasetError(f"There is no image {entry.name}. Was it moved or removed?")
            return Path(place.path)
        try:
            return self._bytes(entry, place)
        except ArtifactError:
            self._require_folder()
            if place.kind == fs.FileType.NotFound:
                raise DatasetError(f"There is no {place.name} with the image {entry.name}. Was it removed?") from None
            raise

    def _bytes(self, entry: Entry, place: Place) -> bytes:
        if entry.place == WHOLE:
            return place.read()
        if entry.file.endswith(TABLE):
            with self._one_at_a_time:
                return self._row(entry.file, entry.place)
        with place.opened() as file:
            file.seek(entry.place)
            return file.read(entry.size)

    def _row(self, file: str, row: int) -> bytes:
        firsts = list(itertools.accumulate(self._counts(file), initial=0))  # of row groups
        group = bisect.bisect_right(firsts, row) - 1
        row -= firsts[group]
        value = self._group(file, group)[row].as_py()
        if value is None:
            raise DatasetError(f"{file} has no bytes in row {row} of its row group {group}.")
        return value

    def _count_rows(self, file: str) -> list[int]:
        """Return how many rows each row group of a table has."""
        place = place_of(self._folder, file)
        with place.opened() as opened:
            found = opened_table(opened, place).metadata
            return [found.row_group(group).num_rows for group in range(found.num_row_groups)]

    def _read_group(self, file: str, group: int) -> pa.Array:
        place = place_of(self._folder, file)
        with place.opened() as opened:
            table = opened_table(opened, place)
            column = bytes_column(table.schema_arrow)
            assert column is not None  # as it was listed
            found: Any = table.read_row_group(group, columns=[column]).column(0).combine_chunks()
            return found.field("bytes") if pa.types.is_struct(found.type) else found

    def _require_folder(self) -> None:
        """Raise ArtifactError when the whole source is gone: then no image of it is broken."""
        if self._folder.kind != fs.FileType.Directory:
            raise ArtifactError(
                f"There is no {self._folder.name} any more: the source was lost. Mount it again, and rerun the same "
                "command; finished shards are kept."
            )
