"""The images of a plan, one row each in manifest.parquet, a shard in each row group: a worker reads its own alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from yolact_ascend.detection.image_matches import Scoring, Truth
from yolact_ascend.errors import DatasetError, show_name
from yolact_ascend.images.coco import list_some, order_images, other_names
from yolact_ascend.scale.places import Place
from yolact_ascend.scale.source import Entry

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


def match_images(entries: Sequence[Entry], annotations: dict[str, Any], is_scored: bool, source: str) -> list[Image]:
    """Return the images that an annotation file lists, in `stream`'s order; entries that it does not list are left out.

    An image is found by its `file_name`, or by that without folders. Raises DatasetError that names what is missing.
    """
    by_name = {entry.name: entry for entry in entries}
    by_base: dict[str, Entry | None] = {}
    for entry in entries:
        base = entry.name.rpartition("/")[2]
        by_base[base] = None if base in by_base else entry  # of two with that name it would be anyone's guess
    listed = {image["id"]: image for image in annotations["images"]}
    truth: dict[int, list[dict[str, Any]]] = {image_id: [] for image_id in listed}
    for annotation in annotations["annotations"]:
        truth[annotation["image_id"]].append(annotation)
    found, missing = [], []
    for image_id in order_images(annotations):
        image = listed[image_id]
        names = [image["file_name"], *other_names(image["file_name"])]
        choices = (by_name.get(name) or by_base.get(name) for name in names)
        match = next((entry for entry in choices if entry is not None), None)
        if match is None:
            missing.append(image["file_name"])
            continue
        text = json.dumps(truth.pop(image_id)) if is_scored else None
        found.append(Image(match, image_id, (image["height"], image["width"]), text))
    if missing:
        raise DatasetError(
            f"{len(missing)} of {len(listed)} images that the annotation file lists are not in {source}: "
            f"{list_some([show_name(name) for name in missing])}. Complete the source, or use another annotation file."
        )
    return found


def hash_images(images: Iterable[Image]) -> str:
    """Return the SHA-256 of all that a manifest says."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(json.dumps([*image.entry, image.image_id, image.size, image.truth]).encode() + b"\n")
    return digest.hexdigest()


def write_manifest(place: Place, images: Sequence[Image], shard_size: int) -> None:
    """Write the images, a shard in each row group."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, SCHEMA, compression="zstd") as writer:
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
    place.write(sink.getvalue())


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
