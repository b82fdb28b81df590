"""Lists of detections as sets, on boxes small enough to see."""

import numpy as np
import pytest

from yolact_ascend.detection.sets import Matched, lists_detections, match_rows, pair_rows

NAMES = ("boxes", "scores", "classes", "count", "masks")
A, B, C = [0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]


def outputs(boxes, scores, classes, rows=5):
    """Return the outputs of one image with so many rows, the rest zeros; each mask [1,1] holds its box's left."""
    found = (np.zeros((rows, 4), np.float32), np.zeros(rows, np.float32), np.zeros(rows, np.int32))
    for array, values in zip(found, (boxes, scores, classes)):
        array[: len(boxes)] = np.reshape(values, (-1, *array.shape[1:]))
    return [*found, np.array([len(boxes)], np.int32), found[0][:, :1, None].copy()]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param(([], []), ([], []), [], id="empty"),
        pytest.param(([A], [0]), ([], []), [], id="nothing in the second"),
        pytest.param(([], []), ([A], [0]), [], id="nothing in the first"),
        pytest.param(([A, B], [0, 1]), ([A, B], [0, 1]), [(0, 0), (1, 1)], id="the same"),
        pytest.param(([A, B], [0, 0]), ([B, A], [0, 0]), [(0, 1), (1, 0)], id="another order"),
        pytest.param(([A], [0]), ([A], [1]), [], id="another class"),
        pytest.param(([A, B], [0, 0]), ([B], [0]), [(1, 0)], id="one is gone"),
        pytest.param(([A], [0]), ([[0, 0, 10, 5]], [0]), [(0, 0)], id="IoU 0.5"),
        pytest.param(([A], [0]), ([[0, 0, 10, 4.9]], [0]), [], id="less"),
        pytest.param(([A, A], [0, 0]), ([A], [0]), [(0, 0)], id="each row is one row's"),
        pytest.param(([A], [0]), ([[0, 0, 10, 8], A], [0, 0]), [(0, 1)], id="the closest"),
        pytest.param(([[3, 3, 3, 3]], [0]), ([[3, 3, 3, 3.5]], [0]), [(0, 0)], id="no area, same place"),
        pytest.param(([[3, 3, 3, 3]], [0]), ([[3, 3, 3, 5]], [0]), [], id="no area, elsewhere"),
    ],
)
def test_match_rows(first, second, expected):
    lists = [
        (np.reshape(boxes, (-1, 4)).astype(np.float32), np.array(classes, int)) for boxes, classes in (first, second)
    ]
    assert list(zip(*(rows.tolist() for rows in match_rows(*lists)))) == expected


def test_rows_of_next_to_equal_scores_may_change_places():
    """Two scores tie: the first engine has A before B, the other B before A (field_problems 8)."""
    first = outputs([A, B, C], [0.9, 0.5, 0.2], [1, 1, 2])
    second = outputs([B, A, C], [0.5, 0.5, 0.2], [1, 1, 2])
    left, right, matched = pair_rows(NAMES, first, second)
    assert matched == Matched(3, 3, 3)
    for k in (0, 2, 3, 4):
        np.testing.assert_array_equal(left[k], right[k])
    assert (left[1] - right[1]).tolist() == pytest.approx([0.4, 0, 0])


def test_a_box_at_the_threshold_of_nms_is_in_one_list_only():
    """Boxes of one class with IoU 0.5 exactly: ONNX Runtime keeps the worse one, OpenVINO drops it."""
    half = [0, 0, 10, 5]
    kept = outputs([A, half, C], [0.9, 0.8, 0.2], [1, 1, 2])
    dropped = outputs([A, C], [0.9, 0.2], [1, 2])
    left, right, matched = pair_rows(NAMES, kept, dropped)
    assert matched == Matched(3, 2, 2)
    np.testing.assert_array_equal(left[0], [A, C])
    np.testing.assert_array_equal(right[0], [A, C])
    assert (left[3].tolist(), right[3].tolist()) == ([3], [2])  # the counts themselves stay


def test_what_is_beyond_the_count_is_no_detection():
    first, second = outputs([A], [0.9], [1]), outputs([A], [0.9], [1])
    second[0][3] = B
    left, right, matched = pair_rows(NAMES, first, second)
    assert matched == Matched(1, 1, 1)
    assert len(left[0]) == len(right[4]) == 1


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param([], False, id="none"),
        pytest.param(["loc", "conf", "coeffs", "protos"], False, id="heads"),
        pytest.param(["conf", "boxes", "mask", "proto"], False, id="boxes of YOLACT"),
        pytest.param(["boxes", "scores", "classes", "count"], True, id="without masks"),
        pytest.param(["a:0:boxes", "b:0:scores", "c:0:classes", "d:0:count", "e:0:masks"], True, id="of an .om"),
    ],
)
def test_outputs_that_list_detections_are_known_by_their_names(names, expected):
    assert lists_detections(names) is expected


def test_candidates_are_paired_by_all_their_values_and_prototypes_stay_whole():
    """Two anchors of one object have one box; the prototypes have as many rows as there are candidates."""
    names = ("node:0:boxes", "node:1:scores", "node:2:count", "node:3:coeffs", "node:4:protos")
    boxes, scores = np.full((3, 4), 0.5), np.array([[0.1, 0.9], [0.3, 0.7], [0.4, 0.6]])
    coeffs, protos = np.array([[1.0, 0], [0, 1], [1, 1]]), np.arange(12.0).reshape(3, 2, 2)
    first = [boxes, scores, np.array([2]), coeffs, protos]
    second = [boxes, scores[[1, 0, 2]] + 0.01, np.array([2]), coeffs[[1, 0, 2]], protos + 1]
    left, right, matched = pair_rows(names, first, second)
    assert matched == Matched(2, 2, 2)
    np.testing.assert_allclose(right[1] - left[1], 0.01)
    assert np.array_equal(left[3], right[3]) and left[4].shape == protos.shape
    assert pair_rows(names, first, second, all_candidates=True)[2] == Matched(3, 3, 3)
    apart = [*second[:3], coeffs[[1, 0, 2]] + [[0, 0], [5, 0], [0, 0]], protos]
    assert pair_rows(names, first, apart)[2] == Matched(2, 2, 1)
    nothing = [*first[:2], np.array([0]), *first[3:]]
    assert pair_rows(names, nothing, second)[2] == Matched(0, 2, 0)


def test_detections_of_yolact_whose_boxes_are_fractions_are_one_only_where_they_overlap():
    """As pixels, all boxes of a class would be next to each other."""
    names = ("boxes", "scores", "classes", "count", "coeffs", "protos")

    def listed(*boxes):
        n = len(boxes)
        protos = np.zeros((2, 2, 1))
        return [np.array(boxes), np.linspace(0.9, 0.5, n), np.ones(n, int), np.array([n]), np.ones((n, 1)), protos]

    near, far = [0.1, 0.1, 0.3, 0.3], [0.6, 0.6, 0.9, 0.9]
    assert pair_rows(names, listed(near), listed(far))[2] == Matched(1, 1, 0)
    left, right, matched = pair_rows(names, listed(near, far), listed(far, near))
    assert matched == Matched(2, 2, 2) and np.array_equal(left[0], right[0])
    thin = [0.5, 0.5, 0.5, 0.5001]  # of next to no area: all corners within a pixel
    assert pair_rows(names, listed(thin), listed([0.501, 0.5, 0.501, 0.5001]))[2] == Matched(1, 1, 1)
