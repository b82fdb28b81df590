"""Matches of images with their annotations, by COCOeval's four areas: all that mAP needs, in a few bytes a detection.

Source: cocodataset/cocoapi, PythonAPI/pycocotools/cocoeval.py (`evaluateImg`, `Params`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from yolact_ascend.detection.detections import RESULTS_OF, Detections
from yolact_ascend.detection.matches import IOU_THRESHOLDS, Pair, match_overlaps, pair_by_class
from yolact_ascend.detection.tasks import BOX
from yolact_ascend.timings import EVAL, Timings

AREAS = ((0, 1e5**2), (0, 32**2), (32**2, 96**2), (96**2, 1e5**2))  # in square pixels: all, small, medium, large
BITS = 1 << np.arange(len(IOU_THRESHOLDS), dtype=np.uint16)  # of a number that holds a yes or no for each overlap
MOST_MASKS = 255  # that pycocotools 2.0.11 takes at once with NumPy 2: it counts them in a uint8
ALL_BITS = BITS.sum(dtype=np.uint16)


@dataclass(frozen=True)
class Scoring:
    """What results are compared with: whatever is the same for all images."""

    tasks: tuple[str, ...]
    class_ids: tuple[int, ...]  # of the model's classes [K], in results
    category_ids: tuple[int, ...]  # of the annotation file's classes, in order; results of others do not count


class Truth(NamedTuple):
    """One image of an annotation file; it can be sent to the process that finds what is compared with it."""

    scoring: Scoring
    image_id: int
    size: tuple[int, int]  # height and width in pixels
    entries: Sequence[Mapping[str, Any]]  # its annotations


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


class Matched(NamedTuple):
    """All that scores need of one image."""

    objects: ImageObjects
    matches: dict[str, ImageMatches]  # by task


def match_image(truth: Truth, detections: Detections) -> Matched:
    """Match what was found in an image with its annotations."""
    matches = {}
    for task in truth.scoring.tasks:
        results = RESULTS_OF[task](detections, truth.image_id, truth.scoring.class_ids)
        (matches[task],) = match_entries([truth], results, truth.scoring.category_ids, task)
    return Matched(objects_of(truth), matches)


def match_timed(truth: Truth | None, found: Detections, timings: Timings) -> Matched | None:
    """Match what was found with its truth, where there is one."""
    if truth is None:
        return None
    with timings.timed(EVAL):
        return match_image(truth, found)


def objects_of(truth: Truth) -> ImageObjects:
    """Return the objects that an image's annotations have."""
    class_of = {category_id: index for index, category_id in enumerate(truth.scoring.category_ids)}
    single = [entry for entry in truth.entries if not entry.get("iscrowd")]
    areas = np.array([entry["area"] for entry in single], np.float64)
    counts = np.array([~_is_outside(areas, area) for area in AREAS])  # [A,G]
    bits = (counts * (1 << np.arange(len(AREAS)))[:, None]).sum(axis=0)
    return ImageObjects(np.array([class_of[e["category_id"]] for e in single], np.int16), bits.astype(np.uint8))


def match_entries(
    truths: Sequence[Truth], results: Iterable[Mapping[str, Any]], category_ids: Sequence[int], task: str
) -> list[ImageMatches]:
    """Return the matches of entries of COCO's results format with the annotations of their images.

    `category_ids` are those of the annotation file; results of other images or classes do not count.
    """
    annotations: dict[str, Any] = {
        "images": [{"id": t.image_id, **dict(zip(("height", "width"), t.size))} for t in truths],
        "annotations": [entry for truth in truths for entry in truth.entries],
        "categories": [{"id": category_id} for category_id in category_ids],
    }
    pairs = [pair for pair in pair_by_class(annotations, [t.image_id for t in truths], results, task) if pair.found]
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
    ends = np.searchsorted(owners, np.arange(len(truths) + 1))
    parts = [slice(*ends[row : row + 2]) for row in range(len(truths))]
    return [
        ImageMatches(classes[part].astype(np.int16), scores[part], hits[:, part].ravel(), ignored[:, part].ravel())
        for part in parts
    ]


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
    masks = [entry["segmentation"] for entry in found]
    parts = [coco_mask.area(masks[start : start + MOST_MASKS]) for start in range(0, len(masks), MOST_MASKS)]
    return np.concatenate(parts).astype(np.float64)


def _is_outside(areas: np.ndarray, area: tuple[float, float]) -> np.ndarray:
    return (areas < area[0]) | (areas > area[1])


def _pack(flags: np.ndarray) -> np.ndarray:
    """Return flags [T,N] as a number [N] each."""
    return (flags * BITS[:, None]).sum(axis=0).astype(np.uint16)
