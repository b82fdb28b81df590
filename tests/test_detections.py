"""Thresholds, Fast NMS over classes, and COCO entries, on hand-made outputs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from yolact_ascend.detection.boxes import box_iou, encode_boxes, make_anchors
from yolact_ascend.detection.detections import (
    Detections,
    bbox_results,
    best_pairs,
    detect,
    keep_scores,
    mask_results,
    score_anchors,
    softmax,
    suppress_overlaps,
)
from yolact_ascend.detection.thresholds import DetectionSettings
from yolact_ascend.models.config import COCO_CATEGORY_IDS

A, K, M = 19248, 80, 32
SETTINGS = DetectionSettings()


def logits(*probabilities) -> np.ndarray:
    """Return logits [A,K+1] whose softmax are these rows."""
    return np.log(np.array(probabilities, dtype=np.float32))


@pytest.mark.parametrize(
    ("conf", "anchors"),
    [
        pytest.param(np.zeros((0, 3), np.float32), [], id="empty"),
        pytest.param(logits([0.96, 0.03, 0.01]), [], id="background"),
        pytest.param(logits([0.949, 0.0499, 0.0011]), [], id="just below"),
        pytest.param(logits([0.948, 0.0501, 0.0019]), [0], id="just above"),
        # The best class counts, not the sum of the classes.
        pytest.param(
            logits([0.92, 0.04, 0.04], [0.9, 0.02, 0.08], [0.1, 0.89, 0.01]), [1, 2], id="best of the classes"
        ),
    ],
)
def test_score_anchors(conf, anchors):
    kept, best = score_anchors(conf, threshold=0.05)
    assert kept.tolist() == anchors
    assert_allclose(best, np.exp(conf[anchors])[:, 1:].max(axis=1, initial=0), rtol=1e-5)


@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.5, 0.99, 1.0])
def test_score_anchors_is_the_softmax_and_the_threshold_alone(threshold):
    conf = np.random.default_rng(0).normal(0, 2, (5000, 81)).astype(np.float32)
    conf[:, 0] += 6
    conf[:2500, 1] += 9
    probabilities = softmax(conf)[:, 1:]
    expected = np.flatnonzero(probabilities.max(axis=1) > threshold)
    kept, best = score_anchors(conf, threshold)
    assert (0 < len(expected) < 5000) == (0 < threshold < 1)
    assert kept.tolist() == expected.tolist()
    np.testing.assert_array_equal(best, probabilities[expected].max(axis=1, initial=0))


def test_softmax_of_large_logits():
    assert_allclose(softmax(np.array([[1000, 1000, -1000]], dtype=np.float32)), [[0.5, 0.5, 0]])


def suppress(scores, boxes, settings):
    """Apply Fast NMS to scores [n,K] and boxes [n,4] that are all there."""
    return suppress_overlaps(scores.max(axis=1), scores.__getitem__, boxes.__getitem__, settings)


BOXES = np.array([[0, 0, 0.4, 0.4], [0.01, 0, 0.41, 0.4], [0.5, 0.5, 0.9, 0.9]], dtype=np.float32)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        pytest.param(np.zeros((0, 2)), [], id="empty"),
        # rows are boxes, columns are classes; the result is (class, box)
        pytest.param([[0.9, 0.1]], [(0, 0), (1, 0)], id="every class of a box"),
        pytest.param([[0.9, 0], [0.8, 0], [0.7, 0]], [(0, 0), (0, 2), (1, 0), (1, 2)], id="overlap within a class"),
        pytest.param([[0.9, 0.2], [0.8, 0.6]], [(0, 0), (1, 1)], id="classes do not suppress each other"),
        pytest.param([[0.5, 0.5]], [(0, 0), (1, 0)], id="a tie goes to the lower class"),
    ],
)
def test_suppress_overlaps(scores, expected):
    scores = np.array(scores, dtype=np.float32)
    kept = suppress(scores, BOXES[: len(scores)], SETTINGS)
    assert list(zip(kept.class_ids.tolist(), kept.rows.tolist())) == expected
    np.testing.assert_array_equal(kept.scores, [scores[row, class_id] for class_id, row in expected])


@pytest.mark.parametrize("n", [1, 40, 700])
@pytest.mark.parametrize(
    "settings", [SETTINGS, DetectionSettings(top_k_per_class=7), DetectionSettings(max_detections=10**9)]
)
def test_suppress_overlaps_equals_nms_over_everything(n, settings):
    rng = np.random.default_rng(n)
    corner = rng.uniform(0, 0.5, (n, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0.05, 0.5, (n, 2))], axis=1).astype(np.float32)
    scores = rng.random((n, 12)).astype(np.float32)
    expected = []
    for class_id in range(12):
        order = np.argsort(-scores[:, class_id])[: settings.top_k_per_class]
        overlaps = np.triu(box_iou(boxes[order], boxes[order]), k=1)
        expected += [(scores[row, class_id], class_id, row) for row in order[overlaps.max(axis=0) <= 0.5]]
    expected.sort(key=lambda entry: -entry[0])
    kept = suppress(scores, boxes, settings)
    found = list(zip(kept.scores, kept.class_ids, kept.rows))
    assert found == expected[: settings.max_detections]


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        pytest.param(0, [], id="empty"),
        pytest.param(1, [(0, 1)], id="best"),
        pytest.param(2, [(0, 1), (0, 0), (1, 1)], id="all that equal the last"),
        pytest.param(4, [(0, 1), (0, 0), (1, 1), (1, 0)], id="all"),
    ],
)
def test_best_pairs(count, expected):
    pairs = best_pairs(np.array([[0.5, 0.2], [0.9, 0.5]], dtype=np.float32), count)
    assert list(zip(pairs.class_ids.tolist(), pairs.rows.tolist())) == expected


def test_many_equal_scores_keep_their_order():
    scores = np.where(np.arange(240).reshape(6, 40) % 3, 0.25, 0.5).astype(np.float32)
    pairs = best_pairs(scores, scores.size)
    expected = sorted((-scores[row, class_id], class_id, row) for row in range(6) for class_id in range(40))
    assert list(zip(-pairs.scores, pairs.class_ids, pairs.rows)) == expected


def outputs_with(anchor_ids, boxes, class_ids):
    """Return head outputs in which these anchors have these boxes, a score of almost 1, and a mask of ones."""
    loc = np.zeros((A, 4), dtype=np.float32)
    conf = np.zeros((A, K + 1), dtype=np.float32)
    coeffs = np.zeros((A, M), dtype=np.float32)
    conf[:, 0] = 20
    loc[anchor_ids] = encode_boxes(np.reshape(boxes, (-1, 4)), make_anchors()[anchor_ids])
    conf[anchor_ids, np.array(class_ids, dtype=int) + 1] = 40
    coeffs[anchor_ids, 0] = 1
    return loc, conf, coeffs


PROTOS = np.full((138, 138, M), 10, dtype=np.float32)


def test_detect_nothing():
    found = detect(outputs_with([], [], []), PROTOS, height=100, width=200)
    assert len(found) == 0
    assert found.boxes_xyxy_px.shape == (0, 4) and found.masks == ()
    assert bbox_results(found, 1, COCO_CATEGORY_IDS) == mask_results(found, 1, COCO_CATEGORY_IDS) == []


def test_detect_one():
    outputs = outputs_with([9000], [0.202, 0.404, 0.607, 0.808], [79])
    found = detect(outputs, PROTOS, 100, 200, DetectionSettings(max_detections=1))
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
    found = detect((loc, conf, coeffs), PROTOS, 50, 50, DetectionSettings(max_detections=2))
    set_pixels = dict(zip(found.class_ids.tolist(), [rle["counts"] for rle in found.masks]))
    empty = detect((loc, conf, coeffs * 0 - 1), PROTOS, 50, 50, DetectionSettings(max_detections=1)).masks[0]["counts"]
    assert set_pixels[2] == empty != set_pixels[1]


def test_a_box_beside_the_image_is_empty_in_coco_entries():
    found = detect(outputs_with([0], [1.2, 0.4, 1.5, 0.8], [0]), PROTOS, 100, 200, DetectionSettings(max_detections=1))
    assert bbox_results(found, 1, COCO_CATEGORY_IDS)[0]["bbox"] == [200, 40, 0, 40]


def test_at_most_max_detections():
    rng = np.random.default_rng(0)
    conf = rng.normal(0, 3, (A, K + 1)).astype(np.float32)
    outputs = (rng.normal(size=(A, 4)).astype(np.float32), conf, np.zeros((A, M), np.float32))
    found = detect(outputs, PROTOS, 100, 100)
    assert len(found) == 100
    assert (np.diff(found.scores) <= 0).all()


NONE = (np.zeros(0, int), np.zeros(0), np.zeros((0, 4), int), ())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"scores": np.zeros(1)}, "N masks", id="lengths differ"),
        pytest.param({"boxes_xyxy_px": np.zeros((0, 5), int)}, "N masks", id="no boxes"),
        pytest.param({"boxes_xyxy_px": np.zeros((0, 4))}, "whole pixels", id="fractions"),
    ],
)
def test_detections_are_checked(change, message):
    arrays = dict(zip(("class_ids", "scores", "boxes_xyxy_px", "masks"), NONE))
    assert len(Detections(**arrays)) == 0
    with pytest.raises(ValueError, match=message):
        Detections(**{**arrays, **change})


def test_detections_with_swapped_corners_are_refused():
    with pytest.raises(ValueError, match="left <= right"):
        Detections(np.zeros(1, int), np.ones(1), np.array([[5, 0, 4, 9]]), ({},))


@pytest.mark.parametrize(("threshold", "kept"), [(0.0, 3), (0.5, 1), (0.9, 0), (1.0, 0)])
def test_scores_above_a_threshold_are_kept(threshold, kept):
    scores = np.array([0.9, 0.5, 0.2])
    boxes = np.arange(12).reshape(3, 4)
    boxes[:, 2:] += 20
    found = keep_scores(Detections(np.array([3, 1, 2]), scores, boxes, ({}, {}, {})), threshold)
    assert len(found) == len(found.masks) == kept and found.class_ids.tolist() == [3, 1, 2][:kept]
