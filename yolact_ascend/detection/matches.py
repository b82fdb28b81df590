"""Which detections hit which objects, image by image: the half of COCOeval that does not depend on the other images.

Source: cocodataset/cocoapi, PythonAPI/pycocotools/cocoeval.py (`evaluateImg`), for objects of all areas.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from yolact_ascend.detection.segmentation import encode_annotation
from yolact_ascend.detection.tasks import BOX

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)  # as COCOeval's Params computes them
MOST_DETECTIONS = 100  # of a class in an image, COCOeval's largest maxDets
_SLACK = 1e-10  # COCOeval's: an overlap of 1 reaches a threshold of 1


@dataclass(frozen=True)
class Matches:
    """All detections of some images, by class and then best score first, and which of them are right.

    I images, K classes, D detections, T overlaps. Images and classes are in the order of their ids.
    """

    image_ids: tuple[int, ...]  # [I]
    category_ids: tuple[int, ...]  # [K]
    objects: np.ndarray  # [I,K] how many objects count (no crowds)
    images: np.ndarray  # [D] index of the image
    classes: np.ndarray  # [D] index of the class, ascending
    is_hit: np.ndarray  # [T,D] it has an object of its own
    is_ignored: np.ndarray  # [T,D] it lies in a crowd, and does not count

    def of_single_images(self) -> Matches:
        """Return the same as one image, in which image i's class k is the class i*K+k: for scores of each image."""
        count = len(self.category_ids)
        classes = self.images * count + self.classes
        order = np.argsort(classes, kind="stable")
        numbers = tuple(range(len(self.image_ids) * count))
        return Matches(
            (0,),
            numbers,
            self.objects.reshape(1, -1),
            np.zeros_like(self.images),
            classes[order],
            self.is_hit[:, order],
            self.is_ignored[:, order],
        )


def match_results(
    annotations: Mapping[str, Any],
    image_ids: Collection[int],
    results: Iterable[Mapping[str, Any]],
    task: str,
    thresholds: np.ndarray = IOU_THRESHOLDS,
) -> Matches:
    """Match entries of COCO's results format with an annotation file's objects, in the images of `image_ids`.

    A detection may take an object whose overlap with it is a threshold [T] or more. Results of other images, or of
    classes that the file does not list, do not count, as in COCOeval.
    """
    ids, category_ids = tuple(sorted(set(image_ids))), ids_of_classes(annotations)
    objects = np.zeros((len(ids), len(category_ids)), np.int64)
    places, scores, hits, ignored = [], [], [], []
    for pair in pair_by_class(annotations, ids, results, task):
        objects[pair.place] = np.count_nonzero(~pair.is_crowd)
        is_hit, is_ignored = match_overlaps(pair.overlaps, pair.is_crowd, thresholds)
        places += [pair.place] * len(pair.found)
        scores += [entry["score"] for entry in pair.found]
        hits.append(is_hit)
        ignored.append(is_ignored)

    images, classes = np.array(places, np.int64).reshape(-1, 2).T
    order = np.lexsort((-np.array(scores, np.float64), classes))  # stable: equal scores stay in the images' order
    nothing = np.zeros((len(thresholds), 0), bool)
    return Matches(
        ids,
        category_ids,
        objects,
        images[order],
        classes[order],
        np.concatenate([nothing, *hits], axis=1)[:, order],
        np.concatenate([nothing, *ignored], axis=1)[:, order],
    )


class Pair(NamedTuple):
    """The detections and objects of one class in one image."""

    place: tuple[int, int]  # indexes of image and class
    found: list[Mapping[str, Any]]  # [N] the best first, at most `MOST_DETECTIONS`
    truth: list[Mapping[str, Any]]  # [G]
    is_crowd: np.ndarray  # [G]
    overlaps: np.ndarray  # [N,G]


def ids_of_classes(annotations: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the ids of an annotation file's classes, in order."""
    return tuple(sorted(category["id"] for category in annotations["categories"]))


def pair_by_class(
    annotations: Mapping[str, Any], ids: Sequence[int], results: Iterable[Mapping[str, Any]], task: str
) -> Iterator[Pair]:
    """Give detections and objects where there are any, by image and class, as `match_results` takes them."""
    image_of = {image_id: index for index, image_id in enumerate(ids)}
    class_of = {category_id: index for index, category_id in enumerate(ids_of_classes(annotations))}
    truth = _by_place(annotations["annotations"], image_of, class_of)
    found = _by_place(results, image_of, class_of)
    sizes = {entry["id"]: (entry["height"], entry["width"]) for entry in annotations["images"]}
    for place in sorted({*found, *truth}):
        entries = sorted(found.get(place, []), key=lambda entry: -entry["score"])[:MOST_DETECTIONS]
        there = truth.get(place, [])
        is_crowd = np.array([bool(entry.get("iscrowd")) for entry in there], bool)
        yield Pair(place, entries, there, is_crowd, _overlaps(entries, there, is_crowd, task, sizes))


def match_overlaps(
    overlaps: np.ndarray, is_crowd: np.ndarray, thresholds: np.ndarray, is_outside: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return which of N detections, best first, have an object of their own, and which do not count, [T,N] each.

    Takes the overlaps [N,G] with objects of one class in one image, which of these are crowds [G], and which do not
    count because of their size [G] (None: all count). Each detection takes the object that it overlaps most among those
    that are left; of equal ones the last. Only if it reaches none of these it takes one that does not count, and then
    does not count, either; a crowd stays.
    """
    is_hit = np.zeros((len(thresholds), len(overlaps)), bool)
    is_ignored = np.zeros_like(is_hit)
    if not overlaps.size:
        return is_hit, is_ignored
    least = np.minimum(thresholds, 1 - _SLACK)
    does_count = ~is_crowd if is_outside is None else ~(is_crowd | is_outside)
    counting, others = (_Left(np.flatnonzero(kind), is_crowd, least) for kind in (does_count, ~does_count))
    for n in np.flatnonzero(overlaps.max(axis=1) >= least.min()):
        is_hit[:, n] = counting.take(overlaps[n], np.ones(len(least), bool))
        is_ignored[:, n] = others.take(overlaps[n], ~is_hit[:, n])
    return is_hit, is_ignored


class _Left:
    """Those of some objects [P] that no detection has taken yet, at each threshold [T]."""

    def __init__(self, objects: np.ndarray, is_crowd: np.ndarray, least: np.ndarray) -> None:
        self._objects, self._stays, self._least = objects, is_crowd[objects], least[:, None]
        self._is_left = np.ones((len(least), len(objects)), bool)
        self._rows = np.arange(len(least))

    def take(self, overlaps: np.ndarray, wants: np.ndarray) -> np.ndarray:
        """Return at which thresholds [T] a detection takes an object, where it wants one [T]; overlaps are [G]."""
        if not len(self._objects):
            return np.zeros(len(wants), bool)
        row = overlaps[self._objects]
        reached = np.where(self._is_left & (row >= self._least), row, -1.0)[:, ::-1]  # the last of equal ones first
        best = reached.argmax(axis=1)
        takes = wants & (reached[self._rows, best] >= 0)
        chosen = len(row) - 1 - best[takes]
        self._is_left[takes, chosen] = self._stays[chosen]
        return takes


def _by_place(
    entries: Iterable[Mapping[str, Any]], image_of: Mapping[int, int], class_of: Mapping[int, int]
) -> dict[tuple[int, int], list[Mapping[str, Any]]]:
    """Return the entries of each image and class, in their order."""
    places: dict[tuple[int, int], list[Mapping[str, Any]]] = {}
    for entry in entries:
        image, category = image_of.get(entry["image_id"]), class_of.get(entry["category_id"])
        if image is not None and category is not None:
            places.setdefault((image, category), []).append(entry)
    return places


def _overlaps(
    found: Sequence[Mapping[str, Any]],
    truth: Sequence[Mapping[str, Any]],
    is_crowd: np.ndarray,
    task: str,
    sizes: Mapping[int, tuple[int, int]],
) -> np.ndarray:
    """Return the overlaps [N,G] of detections with objects; with a crowd, the share of the detection inside it."""
    if not truth:
        return np.zeros((len(found), 0))
    if task == BOX:
        boxes = [np.array([entry["bbox"] for entry in entries], np.float64) for entries in (found, truth)]
        return np.asarray(coco_mask.iou(*boxes, is_crowd.tolist()))
    height, width = sizes[truth[0]["image_id"]]
    masks = [encode_annotation(entry, height, width) for entry in truth]
    return np.asarray(coco_mask.iou([entry["segmentation"] for entry in found], masks, is_crowd.tolist()))
