"""The detections of one image as a value, with masks and without."""

from __future__ import annotations

import numpy as np
import pytest

from yolact_ascend.detection.detections import RESULTS_OF, Detections, bbox_results, keep_scores
from yolact_ascend.detection.tasks import BOX, MASK

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


def test_boxes_may_have_fractions_of_pixels():
    boxes = np.array([[0.25, 1.5, 2.75, 1.5]], np.float32)
    (entry,) = bbox_results(Detections(np.zeros(1, int), np.ones(1, np.float32), boxes), 1, (5,))
    assert entry["bbox"] == [0.25, 1.5, 2.5, 0]


def test_a_network_of_boxes_has_no_masks():
    found = Detections(np.array([1, 0]), np.array([0.9, 0.4]), np.array([[1, 2, 5, 8], [0, 0, 3, 3]]))
    assert found.masks is None
    kept = keep_scores(found, 0.5)
    assert len(kept) == 1 and kept.masks is None
    assert RESULTS_OF[BOX](kept, 7, (10, 20)) == [
        {"image_id": 7, "category_id": 20, "bbox": [1, 2, 4, 6], "score": 0.9}
    ]
    assert bbox_results(Detections(*NONE[:3]), 7, (10, 20)) == []
    assert set(RESULTS_OF) == {BOX, MASK}
