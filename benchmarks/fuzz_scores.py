"""Scores of an annotation file that our readers accepted, ours against pycocotools' of the file as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from referee import score_by_pycocotools

from yolact_ascend.detection.evaluate import Score, evaluate
from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.images.coco import CocoDataset
from yolact_ascend.models.config import ModelConfig

SHIFT = (0.0, 2.0, 11.0)  # pixels, of three detections for each object
MOST_PX = 10_000  # the side of an image for which masks are made


def compare_scores(
    path: Path, dataset: CocoDataset, objects: list[dict[str, Any]], config: ModelConfig, tolerance: float
) -> str | None:
    """Score detections near `objects` in both ways; return the difference, None when there is none or no referee."""
    boxes, masks = detections(dataset, objects, config)
    image_ids = [image.image_id for image in dataset.images]
    found = evaluate(dataset.truth, image_ids, {BOX: boxes, MASK: masks}).scores
    if not found:
        return None
    truth = json.loads(path.read_text(encoding="utf-8-sig"))
    for task, results, iou_type in ((BOX, boxes, "bbox"), (MASK, masks, "segm")):
        try:
            expected = score_by_pycocotools(truth, image_ids, results, iou_type)
        except Exception:  # pycocotools needs fields that we do without
            continue
        ours, theirs = _numbers(found[task]), _numbers(expected)
        if not np.allclose(ours, theirs, rtol=0, atol=tolerance, equal_nan=True):
            return f"another {task} mAP: {ours[0]:.4f}, pycocotools {theirs[0]:.4f}"
    return None


def detections(
    dataset: CocoDataset, objects: list[dict[str, Any]], config: ModelConfig
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return results in COCO's format: rectangles near the objects, in the images that the data set still lists."""
    sizes = {image.image_id: (image.height, image.width) for image in dataset.images}
    boxes, masks = [], []
    for number, one in enumerate(objects):
        height, width = sizes.get(one["image_id"], (0, 0))
        if not 0 < height <= MOST_PX or not 0 < width <= MOST_PX:
            continue
        for shift in SHIFT:
            x, y, w, h = one["bbox"]
            result = {
                "image_id": one["image_id"],
                "category_id": config.category_ids[(number * 3) % len(config.category_ids)]
                if shift > SHIFT[1]
                else one["category_id"],
                "score": 0.9 - shift / 20 - number / 100,
            }
            boxes.append({**result, "bbox": [x + shift, y, w, h]})
            left, right = x + shift, x + shift + w
            rle = coco_mask.frPyObjects([[left, y, right, y, right, y + h, left, y + h]], height, width)[0]
            masks.append({**result, "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()}})
    return boxes, masks


def _numbers(score: Score) -> list[float]:
    values = [*score.table.values(), *score.summary]
    return [np.nan if value is None else value for value in values]
