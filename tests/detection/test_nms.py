"""Thresholds and Fast NMS over classes, on hand-made scores."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose

from yolact_ascend.detection.boxes import box_iou
from yolact_ascend.detection.nms import best_pairs, best_rows, score_anchors, softmax, suppress_overlaps
from yolact_ascend.detection.thresholds import DetectionSettings

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


def test_standard_nms_takes_each_class_by_itself_and_in_turn():
    """A chain: the first takes the second, which then cannot take the third, as it does in Fast NMS."""
    boxes = np.array([[0, 0, 0.4, 0.4], [0.1, 0, 0.5, 0.4], [0.2, 0, 0.6, 0.4]], np.float32)
    scores = np.array([[0.9, 0.2], [0.8, 0.04], [0.7, 0.3]], np.float32)
    fast = suppress(scores[:, :1], boxes, SETTINGS)
    kept = suppress(scores, boxes, dataclasses.replace(SETTINGS, standard_nms_px=550))
    assert fast.rows.tolist() == [0]
    assert list(zip(kept.class_ids.tolist(), kept.rows.tolist())) == [(0, 0), (0, 2), (1, 2), (1, 0)]  # 0.04 is too low
    one = suppress(scores, boxes, dataclasses.replace(SETTINGS, standard_nms_px=550, max_detections=1))
    assert one.scores.tolist() == [np.float32(0.9)]
    assert len(suppress(scores[:0], boxes[:0], dataclasses.replace(SETTINGS, standard_nms_px=550)).rows) == 0


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


def test_a_score_at_the_threshold_is_not_above_it():
    kept, _ = score_anchors(np.zeros((1, 2), np.float32), threshold=0.5)  # both probabilities are exactly 0.5
    assert kept.tolist() == []


def spread_boxes(count):
    """Boxes [count,4] of which none touches another."""
    places = np.arange(count, dtype=np.float32)[:, None] / count
    return np.concatenate([places, places, places + 0.5 / count, places + 0.5 / count], axis=1)


def test_pairs_of_one_class_alone_are_enough_where_they_are_the_best():
    """Class 0 is in none of the first pairs, and need not be looked at."""
    scores = np.stack([np.full(1500, 0.01), np.linspace(0.9, 0.5, 1500)], axis=1).astype(np.float32)
    looked = []

    def score(rows):
        looked.append(len(rows))
        return scores[rows]

    kept = suppress_overlaps(scores.max(axis=1), score, spread_boxes(1500).__getitem__, SETTINGS)
    assert kept.class_ids.tolist() == [1] * 100 and kept.rows.tolist() == list(range(100))
    assert looked == [1000]


def test_more_boxes_than_the_first_look_takes_are_all_found():
    scores = np.linspace(0.9, 0.5, 1500, dtype=np.float32)[:, None]
    settings = DetectionSettings(top_k_per_class=2000, max_detections=1500)
    assert suppress(scores, spread_boxes(1500), settings).rows.tolist() == list(range(1500))


def test_best_rows_are_in_order_and_hold_all_that_equal_the_last():
    assert best_rows(np.array([0.2, 0.9, 0.5, 0.5], np.float32), 2).tolist() == [1, 2, 3]
    assert best_rows(np.array([0.2, 0.9], np.float32), 5).tolist() == [0, 1]
