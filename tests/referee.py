"""COCOeval by pycocotools, which has the last word on mAP, and random data sets for it to judge."""

from __future__ import annotations

import contextlib
import copy
import io

import numpy as np
from factories import rectangle_rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from yolact_ascend.detection.evaluate import Evaluation, Score
from yolact_ascend.detection.tasks import BOX, MASK

CLASSES = 5  # the last one without ground truth


def assert_agrees(evaluation: Evaluation, annotations: dict, image_ids, boxes: list[dict], masks: list[dict]) -> None:
    """Hold the table and the 12 numbers of boxes and masks, in percent, to those of pycocotools."""
    for score, results, iou_type in ((evaluation.scores[BOX], boxes, "bbox"), (evaluation.scores[MASK], masks, "segm")):
        expected = score_by_pycocotools(annotations, image_ids, results, iou_type)
        for found, right in ((score.summary, expected.summary), (score.table.values(), expected.table.values())):
            # Another order of summation may change the last bit.
            np.testing.assert_allclose(_numbers(found), _numbers(right), rtol=0, atol=1e-12 * 100)
        assert score.table.keys() == expected.table.keys()
        assert score.by_class.keys() == expected.by_class.keys()
        for number, by_iou in expected.by_class.items():
            np.testing.assert_allclose(
                _numbers(score.by_class[number].values()), _numbers(by_iou.values()), rtol=0, atol=1e-12 * 100
            )
        assert score.curves.keys() == expected.curves.keys()
        for name, curve in expected.curves.items():  # ours is rounded to two decimals
            np.testing.assert_allclose(score.curves[name], curve, rtol=0, atol=0.005 + 1e-9)


def score_by_pycocotools(annotations: dict, image_ids, results: list[dict], iou_type: str) -> Score:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = _index(copy.deepcopy(annotations))
        found = truth.loadRes(copy.deepcopy(results)) if results else _index({**truth.dataset, "annotations": []})
        scorer = COCOeval(truth, found, iou_type)
        scorer.params.imgIds = sorted(image_ids)
        scorer.evaluate()
        scorer.accumulate()
        scorer.summarize()
    precision = scorer.eval["precision"][:, :, :, 0, 2]  # [IoU,recall,class], all areas, 100 detections
    with_truth = precision[:, :, (precision > -1).all(axis=(0, 1))]
    by_iou = [100 * values.mean() if values.size else None for values in with_truth]
    names = ["all", *(f"{threshold:.0f}" for threshold in 100 * scorer.params.iouThrs)]
    table = dict(zip(names, [100 * with_truth.mean() if with_truth.size else None, *by_iou]))
    thresholds = {"all": slice(None), "50": slice(1), "75": slice(5, 6)}
    by_class = {
        category_id: {
            name: None if precision[0, 0, k] == -1 else 100 * precision[part, :, k].mean()
            for name, part in thresholds.items()
        }
        for k, category_id in enumerate(scorer.params.catIds)
    }
    curves = {name: 100 * with_truth[part].mean(axis=(0, 2)) for name, part in thresholds.items() if with_truth.size}
    return Score(table, tuple(None if value == -1 else 100 * value for value in scorer.stats), by_class, curves)


def _numbers(values) -> list[float]:
    return [np.nan if value is None else value for value in values]


def _index(dataset: dict) -> COCO:
    coco = COCO()
    coco.dataset = dataset
    coco.createIndex()
    return coco


def random_dataset(seed: int, images: int = 8, most_found: int = 40) -> tuple[dict, list[dict], list[dict]]:
    """Return annotations, box results and mask results with crowds, ties, images without either …"""
    rng = np.random.default_rng(seed)
    annotations: list[dict] = []
    boxes: list[dict] = []
    masks: list[dict] = []
    entries = []
    for image_id in range(7, 7 + images):
        height, width = (int(size) for size in rng.integers(60, 260, 2))
        entries.append({"id": image_id, "file_name": f"{image_id}.jpg", "height": height, "width": width})
        truth = [_random_box(rng, height, width) for _ in range(rng.integers(0, 7))]
        classes = rng.integers(1, CLASSES, len(truth))
        for box, category_id in zip(truth, classes.tolist()):
            is_crowd = rng.random() < 0.2
            area = rng.choice(
                [box[2] * box[3], 0.8 * box[2] * box[3], 32**2, 96**2]
            )  # at the limits of the ranges, too
            entry = {"id": len(annotations) + 1, "image_id": image_id, "category_id": category_id, "bbox": box}
            shape = _crowd(rng, box, height, width) if is_crowd else [_corners(box)]
            annotations.append({**entry, "area": float(area), "iscrowd": int(is_crowd), "segmentation": shape})
        for _ in range(rng.integers(0, most_found) if rng.random() < 0.8 else 0):
            box, category_id = _random_box(rng, height, width), int(rng.integers(1, CLASSES + 1))
            if truth and rng.random() < 0.6:
                near = rng.integers(len(truth))
                shift = rng.normal(size=4) * rng.choice([0, 0.02, 0.1, 0.3])
                box, category_id = list(truth[near] + shift * np.tile(truth[near][2:], 2)), int(classes[near])
            left, top, right, bottom = _pixels(box, height, width)
            score = float(np.float32(rng.random())) if rng.random() < 0.5 else float(rng.integers(1, 10)) / 10
            found = {"image_id": image_id, "category_id": category_id}
            boxes.append({**found, "bbox": [left, top, right - left, bottom - top], "score": score})
            masks.append(
                {**found, "segmentation": rectangle_rle(*_pixels(box, height, width), height, width), "score": score}
            )
    categories = [{"id": category_id, "name": str(category_id)} for category_id in range(1, CLASSES + 1)]
    return {"images": entries, "annotations": annotations, "categories": categories}, boxes, masks


def _random_box(rng, height, width) -> list[float]:
    """Return a box [x,y,w,h] inside the image, of whole pixels or of fractions."""
    w, h = rng.uniform(2, [width, height]) * rng.choice([0.2, 1])
    box = [rng.uniform(0, width - w), rng.uniform(0, height - h), max(w, 1), max(h, 1)]
    return [float(int(value)) for value in box] if rng.random() < 0.5 else [round(value, 2) for value in box]


def _corners(box) -> list[float]:
    x, y, w, h = box
    return [x, y, x + w, y, x + w, y + h, x, y + h]


def _pixels(box, height, width) -> list[int]:
    x, y, w, h = box
    corners = np.clip([x, y, x + w, y + h], 0, [width, height, width, height])
    return [int(value) for value in np.concatenate([corners[:2], np.maximum(corners[:2], corners[2:])])]


def _crowd(rng, box, height, width) -> dict:
    """Return a crowd's mask, compressed or, as COCO's files have them, as run lengths."""
    compressed = rectangle_rle(*_pixels(box, height, width), height, width)
    if rng.random() < 0.5:
        return compressed
    left, top, right, bottom = _pixels(box, height, width)
    if right == left or bottom == top or bottom - top == height:
        return compressed
    counts = [left * height + top, bottom - top]
    for _ in range(right - left - 1):
        counts += [height - (bottom - top), bottom - top]
    return {"size": [height, width], "counts": [*counts, height * width - sum(counts)]}
