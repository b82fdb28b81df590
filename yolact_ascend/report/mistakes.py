"""What a run got wrong in each image: objects that it missed, false ones, and masks that do not fit.

Detections of a class are matched with its annotations as COCOeval does it (pycocotools, cocoeval.py): in the order of
their scores, each with the free annotation that its box overlaps most, at an IoU of at least `LEAST_IOU`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from yolact_ascend.detection.segmentation import encode_annotation
from yolact_ascend.report.findings import SHOWN_SCORE, Found

LEAST_IOU = 0.5
WORST_IMAGES = 12  # that a report shows


@dataclass(frozen=True)
class Mistakes:
    """The mistakes in one image, or in several."""

    missed: int = 0  # annotations without a detection
    false: int = 0  # detections without an annotation
    wrong_mask: int = 0  # pairs whose boxes match, and whose masks overlap by less than `LEAST_IOU`

    @property
    def total(self) -> int:
        return self.missed + self.false + self.wrong_mask

    def to_json(self) -> dict[str, int]:
        return {"missed": self.missed, "false": self.false, "wrong_mask": self.wrong_mask}


def count_mistakes(found: Found) -> Mistakes:
    """Return the mistakes in one image; what lies on a crowd's area counts as neither right nor false."""
    class_ids = {entry["category_id"] for entry in (*found.annotations, *found.boxes)}
    return add_up(_of_class(found, class_id) for class_id in class_ids)


def add_up(parts: Iterable[Mistakes]) -> Mistakes:
    """Return the sum of mistakes."""
    rows = [(part.missed, part.false, part.wrong_mask) for part in parts]
    return Mistakes(*map(sum, zip(*rows))) if rows else Mistakes()


def describe_mistakes(images: Sequence[Found]) -> tuple[dict[str, Any], list[tuple[Found, Mistakes]]]:
    """Return the mistakes of a run as report.json holds them, and its worst images, the worst one first."""
    counted = [(found, count_mistakes(found)) for found in images]
    total = add_up(mistakes for _, mistakes in counted)
    summary = {
        "score": SHOWN_SCORE,
        "iou": LEAST_IOU,
        "annotations": sum(not _is_crowd(entry) for found in images for entry in found.annotations),
        "detections": sum(len(found.boxes) for found in images),
        **total.to_json(),
        "images_without_mistake": sum(not mistakes.total for _, mistakes in counted),
    }
    ordered = sorted(counted, key=lambda pair: -pair[1].total)  # stable: equal ones in the order of the run
    return summary, [pair for pair in ordered[:WORST_IMAGES] if pair[1].total]


def _of_class(found: Found, class_id: int) -> Mistakes:
    truth = [entry for entry in found.annotations if entry["category_id"] == class_id]
    truth.sort(key=_is_crowd)  # a crowd is taken only by what nothing else fits
    chosen = [n for n, entry in enumerate(found.boxes) if entry["category_id"] == class_id]
    chosen.sort(key=lambda n: -found.boxes[n]["score"])
    objects = sum(not _is_crowd(entry) for entry in truth)
    if not truth or not chosen:
        return Mistakes(missed=objects, false=len(chosen))
    crowds = [int(_is_crowd(entry)) for entry in truth]
    ious = coco_mask.iou([found.boxes[n]["bbox"] for n in chosen], [entry["bbox"] for entry in truth], crowds)
    pairs, false = _match(np.asarray(ious), objects)
    wrong = sum(not _masks_overlap(found, chosen[row], truth[column]) for row, column in pairs)
    return Mistakes(objects - len(pairs), false, wrong)


def _match(ious: np.ndarray, objects: int) -> tuple[list[tuple[int, int]], int]:
    """Return the pairs (detection, object), and how many detections are false.

    `ious` is [N,M]: detections in the order of their scores, then objects before crowds.
    """
    free = ious.copy()
    pairs, false = [], 0
    for row in range(len(free)):
        column = int(free[row, :objects].argmax()) if objects else 0
        if objects and free[row, column] >= LEAST_IOU:
            free[:, column] = -1
            pairs.append((row, column))
        elif not (ious[row, objects:] >= LEAST_IOU).any():
            false += 1
    return pairs, false


def _masks_overlap(found: Found, n: int, annotation: dict[str, Any]) -> bool:
    if found.masks is None:
        return True
    truth = encode_annotation(annotation, found.image.height, found.image.width)
    return bool(coco_mask.iou([found.masks[n]["segmentation"]], [truth], [0])[0, 0] >= LEAST_IOU)


def _is_crowd(annotation: dict[str, Any]) -> bool:
    return bool(annotation.get("iscrowd"))
