"""From a YOLACT head's outputs to detections, on hand-made outputs."""

from __future__ import annotations

import numpy as np
import pytest
from factories import SMALL_CONFIG
from numpy.testing import assert_allclose

from yolact_ascend.detection.boxes import encode_boxes
from yolact_ascend.detection.detections import bbox_results, mask_results
from yolact_ascend.detection.thresholds import DetectionSettings
from yolact_ascend.models.labels import COCO_CATEGORY_IDS
from yolact_ascend.models.yolact.anchors import make_anchors
from yolact_ascend.models.yolact.detect import detect

A, K, M = 19248, 80, 32
ANCHORS = make_anchors(SMALL_CONFIG.anchors, 550)


def outputs_with(anchor_ids, boxes, class_ids):
    """Return head outputs in which these anchors have these boxes, a score of almost 1, and a mask of ones."""
    loc = np.zeros((A, 4), dtype=np.float32)
    conf = np.zeros((A, K + 1), dtype=np.float32)
    coeffs = np.zeros((A, M), dtype=np.float32)
    conf[:, 0] = 20
    loc[anchor_ids] = encode_boxes(np.reshape(boxes, (-1, 4)), ANCHORS[anchor_ids])
    conf[anchor_ids, np.array(class_ids, dtype=int) + 1] = 40
    coeffs[anchor_ids, 0] = 1
    return loc, conf, coeffs


PROTOS = np.full((138, 138, M), 10, dtype=np.float32)


def test_detect_nothing():
    found = detect(outputs_with([], [], []), PROTOS, 100, 200, ANCHORS)
    assert len(found) == 0
    assert found.boxes_xyxy_px.shape == (0, 4) and found.masks == ()
    assert bbox_results(found, 1, COCO_CATEGORY_IDS) == mask_results(found, 1, COCO_CATEGORY_IDS) == []


def test_detect_one():
    outputs = outputs_with([9000], [0.202, 0.404, 0.607, 0.808], [79])
    found = detect(outputs, PROTOS, 100, 200, ANCHORS, DetectionSettings(max_detections=1))
    assert found.class_ids.tolist() == [79]
    assert_allclose(found.scores, [1], atol=1e-6)
    assert found.boxes_xyxy_px.tolist() == [[40, 40, 121, 80]]
    [entry] = bbox_results(found, 139, COCO_CATEGORY_IDS)
    assert entry == {"image_id": 139, "category_id": 90, "bbox": [40, 40, 81, 40], "score": pytest.approx(1)}
    [entry] = mask_results(found, 139, COCO_CATEGORY_IDS)
    assert entry["segmentation"]["size"] == [100, 200]


def test_detect_takes_the_mask_of_its_own_anchor():
    loc, conf, coeffs = outputs_with([9000, 3000], [[0.1, 0.1, 0.4, 0.4], [0.5, 0.5, 0.9, 0.9]], [1, 2])
    coeffs[3000] = -coeffs[3000]  # nothing of this one is set
    found = detect((loc, conf, coeffs), PROTOS, 50, 50, ANCHORS, DetectionSettings(max_detections=2))
    set_pixels = dict(zip(found.class_ids.tolist(), [rle["counts"] for rle in found.masks]))
    empty = detect((loc, conf, coeffs * 0 - 1), PROTOS, 50, 50, ANCHORS, DetectionSettings(max_detections=1)).masks[0][
        "counts"
    ]
    assert set_pixels[2] == empty != set_pixels[1]


def test_a_box_beside_the_image_is_empty_in_coco_entries():
    found = detect(
        outputs_with([0], [1.2, 0.4, 1.5, 0.8], [0]), PROTOS, 100, 200, ANCHORS, DetectionSettings(max_detections=1)
    )
    assert bbox_results(found, 1, COCO_CATEGORY_IDS)[0]["bbox"] == [200, 40, 0, 40]


def test_at_most_max_detections():
    rng = np.random.default_rng(0)
    conf = rng.normal(0, 3, (A, K + 1)).astype(np.float32)
    outputs = (rng.normal(size=(A, 4)).astype(np.float32), conf, np.zeros((A, M), np.float32))
    found = detect(outputs, PROTOS, 100, 100, ANCHORS)
    assert len(found) == 100
    assert (np.diff(found.scores) <= 0).all()
