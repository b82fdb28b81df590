"""The images of a plan, one row each in manifest.parquet, a shard in each row group: a worker reads its own alone."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, overload

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from yolact_ascend.detection.image_matches import Scoring, Truth
from yolact_ascend.errors import DatasetError, show_name
from yolact_ascend.images.coco import list_some, other_names
from yolact_ascend.images.listed import ListedImages
from yolact_ascend.scale.places import Place
from yolact_ascend.scale.source import Entry
from yolact_ascend.scale.truths import ReadTruths, Truths

TOGETHER = 256  # images that are made at once
SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("file", pa.string()),
        ("place", pa.int64()),
        ("size", pa.int64()),
        ("image_id", pa.int64()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("truth", pa.string()),
    ]
)


class Image(NamedTuple):
    """One image of a plan: where it is read from, and what is known of it."""

    entry: Entry
    image_id: int
    size: tuple[int, int] | None  # height and width in pixels, as annotated; None: those of the pixels
    truth: str | None  # its annotations, as a JSON list; None: there are none to score against

    def truth_for(self, scoring: Scoring | None) -> Truth | None:
        """Return what its detections are compared with, if anything."""
        if scoring is None or self.truth is None or self.size is None:
            return None
        return Truth(scoring, self.image_id, self.size, json.loads(self.truth))


def number_images(entries: Sequence[Entry]) -> list[Image]:
    """Return images without annotations, whose ids are their numbers, from 1."""
    return [Image(entry, number, None, None) for number, entry in enumerate(entries, start=1)]


@dataclass(frozen=True, eq=False)
class AnnotatedImages(Sequence[Image]):
    """Images whose annotations are on disk: each image is made when it is asked for."""

    entries: list[Entry]  # [N]
    rows: np.ndarray  # [N] of each in the annotation file
    listed: ListedImages
    truths: Truths | None  # None: there are none to score against

    def __len__(self) -> int:
        return len(self.entries)

    @overload
    def __getitem__(self, which: int) -> Image: ...

    @overload
    def __getitem__(self, which: slice) -> list[Image]: ...

    def __getitem__(self, which: int | slice) -> Image | list[Image]:
        if isinstance(which, int):
            number = range(len(self))[which]
            return self[number : number + 1][0]
        rows = self.rows[which]
        sizes, ids = self.listed.sizes_of(rows), self.listed.ids[rows].tolist()
        truths = map(self.truths.of, rows.tolist()) if self.truths else itertools.repeat(None)
        return list(map(Image, self.entries[which], ids, sizes, truths))

    def __iter__(self) -> Iterator[Image]:
        for start in range(0, len(self), TOGETHER):
            yield from self[start : start + TOGETHER]


def match_images(entries: Sequence[Entry], read: ReadTruths, source: str, limit: int | None = None) -> AnnotatedImages:
    """Return the first images that an annotation file lists, in `stream`'s order; entries that it does not list are
    left out.

    An image is found by its `file_name`, or by that without folders. Raises DatasetError that names what is missing.
    """
    names, rows = read.checked.images.names, read.rows_in_order()
    find = _finder(entries)
    found = [find(names[row]) for row in rows]
    missing = [show_name(names[row]) for row, entry in zip(rows, found) if entry is None]
    if missing:
        raise DatasetError(
            f"{len(missing)} of {len(names)} images that the annotation file lists are not in {source}: "
            f"{list_some(missing)}. Complete the source, or use another annotation file."
        )
    taken = [entry for entry in found[:limit] if entry]
    truths = read.truths if read.checked.is_scored else None
    return AnnotatedImages(taken, np.array(rows[:limit], np.int32), read.checked.images, truths)


def _finder(entries: Sequence[Entry]) -> Callable[[str], Entry | None]:
    """Return a function that finds an image in a source by a `file_name`."""
    by_name = {entry.name: entry for entry in entries}

    @functools.cache
    def by_base() -> dict[str, Entry | None]:  # a large table, which most sources do not need
        found: dict[str, Entry | None] = {}
        for entry in entries:
            base = entry.name.rpartition("/")[2]
            found[base] = None if base in found else entry  # of two with that name it would be anyone's guess
        return found

    def find(file_name: str) -> Entry | None:
        names = [file_name, *other_names(file_name)]
        choices = (by_name.get(name) or by_base().get(name) for name in names)
        return next((entry for entry in choices if entry is not None), None)

    return find


def hash_images(images: Iterable[Image]) -> str:
    """Return the SHA-256 of all that a manifest says."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(json.dumps([*image.entry, image.image_id, image.size, image.truth]).encode() + b"\n")
    return digest.hexdigest()


def write_manifest(place: Place, images: Sequence[Image], shard_size: int) -> None:
    """Write the images, a shard in each row group."""
    with place.aside() as path, pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        for start in range(0, len(images), shard_size):
            shard = images[start : start + shard_size]
            sizes = [image.size or (0, 0) for image in shard]
            columns = [
                *zip(*(image.entry for image in shard)),
                [image.image_id for image in shard],
                *zip(*sizes),
                [image.truth for image in shard],
            ]
            arrays = [pa.array(values, field.type) for values, field in zip(columns, SCHEMA)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA), row_group_size=shard_size)


def read_shard(place: Place, shard: int) -> list[Image]:
    """Return the images of one shard."""
    with place.opened() as file:
        rows = pq.ParquetFile(file).read_row_group(shard).to_pylist()
    return [
        Image(
            Entry(row["name"], row["file"], row["place"], row["size"]),
            row["image_id"],
            (row["height"], row["width"]) if row["height"] else None,
            row["truth"],
        )
        for row in rows
    ]


def read_ids(place: Place) -> pa.ChunkedArray:
    """Return the id of each image, in order."""
    with place.opened() as file:
        return pq.ParquetFile(file).read(["image_id"]).column(0)
