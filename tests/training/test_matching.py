"""Which anchors are to find which objects; every number here can be checked by hand."""

import numpy as np
import pytest

from yolact_ascend.detection.boxes import decode_boxes
from yolact_ascend.training.yolact.matching import (
    BACKGROUND,
    NEUTRAL,
    claim_anchors,
    corners,
    match_anchors,
)

NOTHING = np.zeros((0, 4), dtype=np.float32)
NO_CLASSES = np.zeros(0, dtype=np.int64)


def boxes(*rows):
    return np.array(rows, dtype=np.float32).reshape(-1, 4)


def centred(*boxes_xyxy):
    """The same boxes by centre and size, as anchors are."""
    left, top, right, bottom = boxes(*boxes_xyxy).T
    return np.stack([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top], axis=1)


def test_corners_of_a_centred_box():
    np.testing.assert_allclose(corners(boxes([0.5, 0.4, 0.2, 0.6])), [[0.4, 0.1, 0.6, 0.7]], atol=1e-7)


# An object of 10×10; anchors of the same height that reach `width` to the right overlap it by width/10.
def anchors_of_overlap(*overlaps):
    return centred(*([0, 0, 10 * overlap, 10] for overlap in overlaps))


def test_thresholds_part_positive_neutral_and_background():
    # The first is the object's own; without one of 1.0 the best would be claimed, however bad.
    anchors = anchors_of_overlap(1.0, 0.6, 0.51, 0.49, 0.41, 0.39, 0.1)
    matches = match_anchors(boxes([0, 0, 10, 10]), np.array([4]), NOTHING, anchors)
    assert matches.classes.tolist() == [5, 5, 5, NEUTRAL, NEUTRAL, BACKGROUND, BACKGROUND]


def test_an_overlap_of_exactly_one_half_is_positive():
    matches = match_anchors(boxes([0, 0, 8, 8]), np.array([0]), NOTHING, centred([0, 0, 8, 8], [0, 0, 4, 8]))
    assert matches.classes.tolist() == [1, 1]


def test_every_object_keeps_an_anchor_however_bad():
    matches = match_anchors(boxes([0, 0, 1, 10]), np.array([2]), NOTHING, centred([0, 0, 10, 10], [20, 20, 30, 30]))
    assert matches.classes.tolist() == [3, BACKGROUND]


def test_an_anchor_takes_the_object_that_it_overlaps_most():
    objects = boxes([0, 0, 10, 10], [0, 0, 10, 8])
    anchors = centred([0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 9.5], [0, 0, 10, 7])
    matches = match_anchors(objects, np.array([0, 1]), NOTHING, anchors)
    assert matches.rows.tolist() == [0, 1, 0, 1]
    assert matches.classes.tolist() == [1, 2, 1, 2]


def test_an_object_loses_its_favourite_to_a_better_one():
    # Both like anchor 0 best; object 1 overlaps it more and takes it, object 0 gets its second best.
    overlaps = np.array([[0.6, 0.3, 0.5], [0.9, 0.8, 0.1]])
    assert claim_anchors(overlaps).tolist() == [2, 0]


@pytest.mark.parametrize("seed", range(5))
def test_claims_are_those_of_upstreams_loop(seed):
    overlaps = np.random.default_rng(seed).random((6, 9))
    left, expected = overlaps.copy(), np.zeros(6, dtype=int)
    for _ in range(6):
        row, anchor = np.unravel_index(left.argmax(), left.shape)
        expected[row] = anchor
        left[:, anchor] = left[row] = -1
    assert claim_anchors(overlaps).tolist() == expected.tolist()


def test_offsets_decode_to_the_objects_box():
    objects = boxes([0.1, 0.1, 0.5, 0.6])
    anchors = centred([0.1, 0.1, 0.5, 0.5], [0.1, 0.15, 0.5, 0.6], [0.8, 0.8, 0.9, 0.9])
    matches = match_anchors(objects, np.array([0]), NOTHING, anchors)
    assert matches.classes.tolist() == [1, 1, BACKGROUND]
    np.testing.assert_allclose(decode_boxes(matches.loc[:2], anchors[:2]), np.repeat(objects, 2, axis=0), atol=1e-6)
    assert not matches.loc[2].any()


def test_background_inside_an_ignored_region_is_neutral():
    region = boxes([0, 0, 10, 10])
    # Of the anchors 100 %, 80 %, 60 % and nothing lie in the region.
    anchors = centred([1, 1, 3, 3], [0, 2, 10, 12], [0, 4, 10, 14], [20, 20, 30, 30])
    matches = match_anchors(NOTHING, NO_CLASSES, region, anchors)
    assert matches.classes.tolist() == [NEUTRAL, NEUTRAL, BACKGROUND, BACKGROUND]


def test_an_ignored_region_takes_no_object_away():
    matches = match_anchors(boxes([0, 0, 4, 4]), np.array([0]), boxes([0, 0, 10, 10]), centred([0, 0, 4, 4]))
    assert matches.classes.tolist() == [1]


def test_without_objects_all_is_background():
    matches = match_anchors(NOTHING, NO_CLASSES, NOTHING, centred([0, 0, 1, 1], [1, 1, 2, 2]))
    assert matches.classes.tolist() == [BACKGROUND, BACKGROUND]
    assert matches.rows.shape == (2,) and matches.loc.shape == (2, 4)


def test_of_equal_overlaps_an_object_takes_the_first_anchor():
    """On every CPU: which of equal values a partition keeps depends on its vector instructions."""
    overlaps = np.zeros((2, 4000), np.float32)
    overlaps[0, [700, 20, 3000]] = 0.5
    overlaps[1, [20, 900]] = 0.5
    assert claim_anchors(overlaps).tolist() == [20, 900]
    assert claim_anchors(np.zeros((3, 50))).tolist() == [0, 1, 2]
