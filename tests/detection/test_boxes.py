"""Decoding, overlap and Fast NMS, on boxes small enough to check by eye."""

from __future__ import annotations

import numpy as np
import pytest

from yolact_ascend.detection.boxes import (
    box_iou,
    decode_boxes,
    encode_boxes,
    fast_nms,
    scale_boxes,
    standard_nms,
)

NO_BOXES = np.zeros((0, 4), dtype=np.float32)


def boxes(*rows) -> np.ndarray:
    return np.array(rows, dtype=np.float32).reshape(-1, 4)


@pytest.mark.parametrize(
    ("loc", "expected"),
    [
        pytest.param(NO_BOXES, NO_BOXES, id="empty"),
        pytest.param([0, 0, 0, 0], [0.4, 0.3, 0.6, 0.7], id="the anchor itself"),
        pytest.param([10, 0, 0, 0], [0.6, 0.3, 0.8, 0.7], id="right by its width"),
        pytest.param([0, -10, 0, 0], [0.4, -0.1, 0.6, 0.3], id="up by its height"),
        pytest.param([0, 0, 5 * np.log(2), 0], [0.3, 0.3, 0.7, 0.7], id="twice as wide"),
        pytest.param([0, 0, 0, -5 * np.log(2)], [0.4, 0.4, 0.6, 0.6], id="half as high"),
    ],
)
def test_decode_boxes(loc, expected):
    loc = boxes(loc)
    anchors = np.repeat(boxes([0.5, 0.5, 0.2, 0.4]), len(loc), axis=0)
    decoded = decode_boxes(loc, anchors)
    assert decoded.dtype == np.float32
    np.testing.assert_allclose(decoded, boxes(expected), atol=1e-6)


def test_decode_boxes_of_absurd_sizes_stay_numbers():
    decoded = decode_boxes(boxes([0, 0, 1e6, -1e6]), boxes([0.5, 0.5, 0.2, 0.4]))
    assert np.isfinite(decoded).all()
    assert decoded[0, 1] == decoded[0, 3] == np.float32(0.5)


def test_encode_boxes_undoes_decode_boxes():
    loc = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    rng = np.random.default_rng(1)
    anchors = np.concatenate([rng.uniform(0, 1, (50, 2)), rng.uniform(0.05, 0.7, (50, 2))], axis=1).astype(np.float32)
    np.testing.assert_allclose(encode_boxes(decode_boxes(loc, anchors), anchors), loc, atol=1e-4)  # centres cancel


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param(NO_BOXES, boxes([0, 0, 1, 1]), np.zeros((0, 1)), id="empty"),
        pytest.param(boxes([0, 0, 1, 1]), NO_BOXES, np.zeros((1, 0)), id="with nothing"),
        pytest.param(boxes([0, 0, 2, 2]), boxes([0, 0, 2, 2]), [[1]], id="same"),
        pytest.param(boxes([0, 0, 2, 2]), boxes([1, 0, 3, 2]), [[1 / 3]], id="half over"),
        pytest.param(boxes([0, 0, 1, 1]), boxes([1, 0, 2, 1]), [[0]], id="touching"),
        pytest.param(boxes([0, 0, 1, 1]), boxes([3, 3, 4, 4]), [[0]], id="apart on both axes"),
        pytest.param(boxes([0, 0, 2, 2]), boxes([0, 1, 2, 3]), [[1 / 3]], id="half over, downwards"),
        pytest.param(boxes([1, 1, 1, 1]), boxes([1, 1, 1, 1]), [[0]], id="two points"),
        pytest.param(boxes([0, 0, 2, 2], [0, 0, 1, 1]), boxes([0, 0, 1, 2]), [[1 / 2], [1 / 2]], id="rows and columns"),
    ],
)
def test_box_iou(first, second, expected):
    np.testing.assert_allclose(box_iou(first, second), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("ranked", "expected"),
    [
        pytest.param(NO_BOXES, [], id="empty"),
        pytest.param(boxes([0, 0, 1, 1]), [True], id="one"),
        pytest.param(boxes([0, 0, 4, 1], [0, 0, 4, 1]), [True, False], id="twins"),
        pytest.param(boxes([0, 0, 4, 1], [0, 0, 2, 1]), [True, True], id="at the threshold"),
        pytest.param(boxes([0, 0, 5, 1], [0, 0, 3, 1]), [True, False], id="above the threshold"),
        # The second goes because of the first, and takes the third with it: what makes this NMS fast.
        pytest.param(boxes([0, 0, 9, 1], [2, 0, 11, 1], [4, 0, 13, 1]), [True, False, False], id="chain"),
    ],
)
def test_fast_nms(ranked, expected):
    assert fast_nms(ranked, 0.5).tolist() == expected


@pytest.mark.parametrize(
    ("ranked", "expected"),
    [
        pytest.param(NO_BOXES, [], id="empty"),
        pytest.param(boxes([0, 0, 9, 9]), [True], id="one"),
        # Sides count one pixel more: 5x1 pixels in 10x1 are a half, which suffices.
        pytest.param(boxes([0, 0, 9, 0], [0, 0, 4, 0]), [True, False], id="at the threshold"),
        pytest.param(boxes([0, 0, 9, 0], [0, 0, 3, 0]), [True, True], id="below the threshold"),
        pytest.param(boxes([0, 0, 8, 0], [2, 0, 10, 0], [4, 0, 12, 0]), [True, False, True], id="chain"),
    ],
)
def test_standard_nms(ranked, expected):
    assert standard_nms(ranked, 0.5).tolist() == expected


@pytest.mark.parametrize(
    ("relative", "expected"),
    [
        pytest.param([], [], id="empty"),
        pytest.param([0, 0, 1, 1], [0, 0, 200, 100], id="whole image"),
        pytest.param([0.1299, 0.1299, 0.5099, 0.5099], [25, 12, 101, 50], id="truncated"),
        pytest.param([0.5, 0.6, 0.1, 0.2], [20, 20, 100, 60], id="corners swapped"),
        pytest.param([-0.5, -0.5, 1.5, 1.5], [0, 0, 200, 100], id="larger than the image"),
        pytest.param([1.1, 0.2, 1.3, 0.5], [200, 20, 200, 50], id="right of the image"),
        pytest.param([-0.3, 0.2, -0.1, 0.5], [0, 20, 0, 50], id="left of the image"),
    ],
)
def test_scale_boxes(relative, expected):
    scaled = scale_boxes(boxes(relative), height=100, width=200)
    assert np.issubdtype(scaled.dtype, np.integer)
    assert scaled.tolist() == np.reshape(expected, (-1, 4)).tolist()


def test_boxes_in_fractions_of_pixels():
    scaled = scale_boxes(boxes([0.129, 0.129, 1.5, 0.5]), height=100, width=200, is_whole=False)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, [[25.8, 12.9, 200, 50]], rtol=1e-6)
