"""Matches of a shard's images, by COCOeval's four areas: all that mAP needs of an image, in a few bytes a detection.

Source: cocodataset/cocoapi, PythonAPI/pycocotools/cocoeval.py (`evaluateImg`, `Params`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from yolact_ascend.detection.matches import IOU_THRESHOLDS, Pair, match_overlaps, pair_by_class
from yolact_ascend.detection.tasks import BOX
from yolact_ascend.scale.manifest import Image

AREAS = ((0, 1e5**2), (0, 32**2), (32**2, 96**2), (96**2, 1e5**2))  # in square pixels: all, small, medium, large
BITS = 1 << np.arange(len(IOU_THRESHOLDS), dtype=np.uint16)  # of a number that holds a yes or no for each overlap


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
    by_image: dict[int, list[ImageMatches]] = {image.image_id: [] for image in images}
    for pair in pair_by_class(annotations, [*by_image], results, task):
        if pair.found:
            by_image[images[pair.place[0]].image_id].append(_match(pair, task))
    return {image_id: _join(matches) for image_id, matches in by_image.items()}


def _match(pair: Pair, task: str) -> ImageMatches:
    object_areas = np.array([entry["area"] for entry in pair.truth], np.float64)
    areas = np.array([_area(entry, task) for entry in pair.found], np.float64)
    hits, ignored = [], []
    for area in AREAS:
        is_outside = _is_outside(object_areas, area)
        is_hit, is_ignored = match_overlaps(pair.overlaps, pair.is_crowd, IOU_THRESHOLDS, is_outside)
        is_ignored |= ~is_hit & _is_outside(areas, area)
        hits.append(_pack(is_hit))
        ignored.append(_pack(is_ignored))
    count = len(pair.found)
    scores = np.array([entry["score"] for entry in pair.found], np.float32)
    return ImageMatches(np.full(count, pair.place[1], np.int16), scores, np.array(hits), np.array(ignored))


def _join(matches: Sequence[ImageMatches]) -> ImageMatches:
    """Return those of an image's classes as one, flat as a part has them."""
    if not matches:
        none = np.zeros(0, np.uint16)
        return ImageMatches(np.zeros(0, np.int16), np.zeros(0, np.float32), none, none)
    classes, scores, hits, ignored = (np.concatenate(each, axis=-1) for each in zip(*matches))
    return ImageMatches(classes, scores, hits.ravel(), ignored.ravel())


def _area(entry: Mapping[str, Any], task: str) -> float:
    """Return the area of a detection, as pycocotools' loadRes has it."""
    if task == BOX:
        return entry["bbox"][2] * entry["bbox"][3]
    return float(coco_mask.area(entry["segmentation"]))


def _is_outside(areas: np.ndarray, area: tuple[float, float]) -> np.ndarray:
    return (areas < area[0]) | (areas > area[1])


def _pack(flags: np.ndarray) -> np.ndarray:
    """Return flags [T,N] as a number [N] each."""
    return (flags * BITS[:, None]).sum(axis=0).astype(np.uint16)
