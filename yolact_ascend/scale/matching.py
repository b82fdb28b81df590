"""Matches of a shard's images, by COCOeval's four areas: all that mAP needs of an image, in a few bytes a detection.

Source: cocodataset/cocoapi, PythonAPI/pycocotools/cocoeval.py (`evaluateImg`, `Params`).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from yolact_ascend.detection.matches import IOU_THRESHOLDS, Pair, match_overlaps, pair_by_class
from yolact_ascend.detection.tasks import BOX
from yolact_ascend.scale.manifest import Image
from yolact_ascend.targets.target import batches

AREAS = ((0, 1e5**2), (0, 32**2), (32**2, 96**2), (96**2, 1e5**2))  # in square pixels: all, small, medium, large
BITS = 1 << np.arange(len(IOU_THRESHOLDS), dtype=np.uint16)  # of a number that holds a yes or no for each overlap
MOST_MASKS = 255  # that pycocotools 2.0.11 takes at once with NumPy 2: it counts them in a uint8
ALL_BITS = BITS.sum(dtype=np.uint16)


class ImageMatches(NamedTuple):
    """The N detections of an image, by class and then best score first; for each area [A,N] a bit for each overlap."""

    classes: np.ndarray  # [N] indexes of the annotation file's classes, in the order of their ids
    scores: np.ndarray  # [N]
    hits: np.ndarray  # [A*N] each has an object of its own
    ignored: np.ndarray  # [A*N] does not count


class ImageObjects(NamedTuple):
    """The G objects of an image that are no crowds; the bits of `areas` are the areas in which they count."""

    classes: np.ndarray  # [G]
    areas: np.ndarray  # [G]


def objects_of(image: Image, category_ids: Sequence[int]) -> ImageObjects:
    """Return the objects that an image's annotations have."""
    class_of = {category_id: index for index, category_id in enumerate(category_ids)}
    single = [entry for entry in json.loads(image.truth or "[]") if not entry.get("iscrowd")]
    areas = np.array([entry["area"] for entry in single], np.float64)
    counts = np.array([~_is_outside(areas, area) for area in AREAS])  # [A,G]
    bits = (counts * (1 << np.arange(len(AREAS)))[:, None]).sum(axis=0)
    return ImageObjects(np.array([class_of[e["category_id"]] for e in single], np.int16), bits.astype(np.uint8))


def match_shard(
    images: Sequence[Image], results: Iterable[Mapping[str, Any]], category_ids: Sequence[int], task: str
) -> dict[int, ImageMatches]:
    """Return the matches of entries of COCO's results format with the annotations of their images, by image id.

    `category_ids` are those of the annotation file; detections of other classes do not count.
    """
    annotations: dict[str, Any] = {
        "images": [{"id": i.image_id, **dict(zip(("height", "width"), i.size or (0, 0)))} for i in images],
        "annotations": [entry for image in images for entry in json.loads(image.truth or "[]")],
        "categories": [{"id": category_id} for category_id in category_ids],
    }
    ids = [image.image_id for image in images]
    pairs = [pair for pair in pair_by_class(annotations, ids, results, task) if pair.found]
    found = [entry for pair in pairs for entry in pair.found]  # [D] by image and class
    counts = [len(pair.found) for pair in pairs]
    owners, classes = (np.repeat([pair.place[axis] for pair in pairs], counts).astype(np.intp) for axis in (0, 1))
    areas = _areas(found, task)
    ignored = np.array([_is_outside(areas, area) for area in AREAS]) * ALL_BITS  # [A,D]
    hits = np.zeros_like(ignored)
    for pair, end in zip(pairs, itertools.accumulate(counts)):
        if pair.overlaps.max(initial=0) >= IOU_THRESHOLDS[0]:  # most classes that are found have no object there
            part = slice(end - len(pair.found), end)
            _match(pair, hits[:, part], ignored[:, part])
    scores = np.array([entry["score"] for entry in found], np.float32)
    ends = np.searchsorted(owners, np.arange(len(ids) + 1))
    parts = {image_id: slice(*ends[row : row + 2]) for row, image_id in enumerate(ids)}
    return {
        image_id: ImageMatches(classes[part], scores[part], hits[:, part].ravel(), ignored[:, part].ravel())
        for image_id, part in parts.items()
    }


def _match(pair: Pair, hits: np.ndarray, ignored: np.ndarray) -> None:
    """Put the matches of one class in one image into [A,N], where `ignored` has the detections of other sizes."""
    object_areas = np.array([entry["area"] for entry in pair.truth], np.float64)
    matched: dict[bytes, list[np.ndarray]] = {}  # by which objects do not count: often the same in two areas
    for row, area in enumerate(AREAS):
        is_outside = _is_outside(object_areas, area)
        key = is_outside.tobytes()
        if key not in matched:
            flags = match_overlaps(pair.overlaps, pair.is_crowd, IOU_THRESHOLDS, is_outside)
            matched[key] = [_pack(each) for each in flags]
        hits[row] = matched[key][0]
        ignored[row] = (ignored[row] & ~hits[row]) | matched[key][1]


def _areas(found: Sequence[Mapping[str, Any]], task: str) -> np.ndarray:
    """Return the areas of detections [N], as pycocotools' loadRes has them."""
    if not found:
        return np.zeros(0)
    if task == BOX:
        return np.prod(np.array([entry["bbox"] for entry in found], np.float64)[:, 2:], axis=1)
    parts = batches((entry["segmentation"] for entry in found), MOST_MASKS)
    return np.concatenate([coco_mask.area(part) for part in parts]).astype(np.float64)


def _is_outside(areas: np.ndarray, area: tuple[float, float]) -> np.ndarray:
    return (areas < area[0]) | (areas > area[1])


def _pack(flags: np.ndarray) -> np.ndarray:
    """Return flags [T,N] as a number [N] each."""
    return (flags * BITS[:, None]).sum(axis=0).astype(np.uint16)
