"""Parts: what was found in the images of a shard, one row an image, in Parquet that is the same bytes each time.

Times, hosts and attempts are not in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from yolact_ascend.detection.detections import Detections
from yolact_ascend.detection.image_matches import ImageMatches, ImageObjects, Matched
from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.errors import ArtifactError
from yolact_ascend.scale.places import Place

TASKS = (BOX, MASK)
REMOVE_PART = "Remove it, and rerun the same command."
_MATCHES = pa.struct(
    [
        ("classes", pa.list_(pa.int16())),
        ("scores", pa.list_(pa.float32())),
        ("hits", pa.list_(pa.uint16())),
        ("ignored", pa.list_(pa.uint16())),
    ]
)
SCHEMA = pa.schema(
    [
        ("image_id", pa.int64()),
        ("name", pa.string()),
        ("error", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("class_ids", pa.list_(pa.int16())),
        ("scores", pa.list_(pa.float32())),
        ("boxes_xyxy_px", pa.list_(pa.float32())),
        ("has_whole_boxes", pa.bool_()),
        ("masks", pa.list_(pa.string())),
        ("object_classes", pa.list_(pa.int16())),
        ("object_areas", pa.list_(pa.uint8())),
        *((task, _MATCHES) for task in TASKS),
    ]
)


@dataclass(frozen=True)
class Row:
    """One image of a part: what was found in it, or why nothing was.

    It is `matched` where there are annotations to score against.
    """

    image_id: int
    name: str
    size: tuple[int, int]  # height and width in pixels that boxes and masks are for
    detections: Detections | None
    error: str = ""
    matched: Matched | None = None


def part_of(rows: Sequence[Row]) -> pa.Buffer:
    """Return the content of a part."""
    values = [_to_json(row) for row in rows]
    arrays = [pa.array([value[column.name] for value in values], column.type) for column in SCHEMA]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA), sink, compression="zstd")
    return sink.getvalue()


def read_part(place: Place) -> pa.Table:
    """Return the content of a part; raises ArtifactError when it is none."""
    with place.opened() as file:
        try:
            part = pq.ParquetFile(file).read()
        except pa.ArrowInvalid as error:
            raise ArtifactError(f"{place.name} is damaged: {str(error).splitlines()[0]} {REMOVE_PART}") from error
    if part.schema != SCHEMA:
        raise ArtifactError(f"{place.name} is a table of another kind: {part.schema.names}. {REMOVE_PART}")
    return part


def rows_of(part: pa.Table) -> Iterator[Row]:
    """Give the rows of a part."""
    for value in part.to_pylist():
        detections = None if value["error"] is not None else _detections(value)
        size = (value["height"], value["width"])
        yield Row(value["image_id"], value["name"], size, detections, value["error"] or "", _matched(value))


def _to_json(row: Row) -> dict[str, Any]:
    found = row.detections
    height, width = row.size
    value: dict[str, Any] = dict.fromkeys(SCHEMA.names)
    value.update(image_id=row.image_id, name=row.name, error=None if found is not None else row.error)
    if found is not None:
        assert found.scores.dtype == np.float32, found.scores.dtype
        value.update(
            height=height,
            width=width,
            class_ids=found.class_ids.astype(np.int16),
            scores=found.scores,
            boxes_xyxy_px=found.boxes_xyxy_px.astype(np.float32).ravel(),  # whole numbers below 2**24 are exact
            has_whole_boxes=bool(np.issubdtype(found.boxes_xyxy_px.dtype, np.integer)),
            masks=None if found.masks is None else [mask["counts"] for mask in found.masks],
        )
    if row.matched is not None:
        objects, matches = row.matched
        value.update(object_classes=objects.classes, object_areas=objects.areas)
        value.update({task: each._asdict() for task, each in matches.items()})
    return value


def _detections(value: dict[str, Any]) -> Detections:
    boxes = np.array(value["boxes_xyxy_px"], np.float32).reshape(-1, 4)
    masks = None
    if value["masks"] is not None:
        size = [value["height"], value["width"]]
        masks = tuple({"size": size, "counts": counts} for counts in value["masks"])
    return Detections(
        np.array(value["class_ids"], np.int64),
        np.array(value["scores"], np.float32),
        boxes.astype(np.int64) if value["has_whole_boxes"] else boxes,
        masks,
    )


def _matched(value: dict[str, Any]) -> Matched | None:
    if value["object_classes"] is None:
        return None
    objects = ImageObjects(np.array(value["object_classes"], np.int16), np.array(value["object_areas"], np.uint8))
    matches = {
        task: ImageMatches(
            np.array(value[task]["classes"], np.int16),
            np.array(value[task]["scores"], np.float32),
            np.array(value[task]["hits"], np.uint16),
            np.array(value[task]["ignored"], np.uint16),
        )
        for task in TASKS
        if value[task] is not None
    }
    return Matched(objects, matches)
