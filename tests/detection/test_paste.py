"""Masks stretched to their boxes: small ones by eye, a plain way in float64, and Detectron2's own code."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from factories import decode_mask

from yolact_ascend.detection.paste import paste_masks, paste_resized_masks
from yolact_ascend.timings import Timings

WHOLE = [[1, 1], [1, 1]]
LEFT = [[1, 0], [1, 0]]
HALF = [[0.5, 0.5], [0.5, 0.5]]

BY_EYE = [
    # mask 2×2, box_xyxy_px, picture as rows
    pytest.param(WHOLE, [1, 1, 3, 3], ["....", ".##.", ".##.", "...."], id="whole pixels"),
    # The centres of the pixels 0 and 2 lie on the box's edge, where a mask of ones has just fallen to one half.
    pytest.param(WHOLE, [0.5, 0, 2.5, 1], ["###.", "....", "...."], id="centres on the edge count"),
    pytest.param(WHOLE, [0.75, 0, 2.75, 1], [".##.", "...."], id="centres beside the edge do not"),
    # Bilinear: from 1 in the middle of the left half to 0 in the middle of the right half.
    pytest.param(LEFT, [0, 0, 4, 1], ["##..", "...."], id="half a mask"),
    pytest.param(HALF, [0, 0, 4, 4], ["....", ".##.", ".##.", "...."], id="just the threshold, between its cells only"),
    pytest.param(WHOLE, [0, 0, 4, 3], ["####", "####", "####"], id="whole picture"),
    # A mask of ones falls off towards its edges, twice at corners: 2/3 · 2/3 of the pixel in this one.
    pytest.param(WHOLE, [-4, -4, 2, 2], ["##..", "#...", "....", "...."], id="begins before the picture"),
    pytest.param(WHOLE, [2, 1, 9, 9], ["....", "...#", "..##"], id="ends after the picture"),
    pytest.param(WHOLE, [7, 7, 9, 9], ["....", "...."], id="beside the picture"),
    pytest.param(WHOLE, [1.6, 0, 1.7, 2], ["....", "...."], id="narrower than a pixel, beside its centre"),
    pytest.param(WHOLE, [1.4, 0, 1.6, 2], [".#..", ".#.."], id="narrower than a pixel, around its centre"),
    pytest.param([[0, 0], [0, 0]], [0, 0, 4, 2], ["....", "...."], id="empty mask"),
]
# Detectron1 truncates the box, larger by the border, to whole pixels.
RESIZED_BY_EYE = [
    # Of 2 cells and the border 4 are resized to the pixels 0..2: 1/6, 1, 1/6.
    pytest.param(WHOLE, [1, 1, 2, 2], ["....", ".#..", "....", "...."], id="two pixels shrink to one"),
    # -1.5..4.5 becomes the pixels -1..4: 0, 1/2, 1, 1, 1/2, 0.
    pytest.param(WHOLE, [0, 0, 3, 3], ["....", ".##.", ".##.", "...."], id="whole picture"),
    pytest.param(HALF, [0, 0, 3, 3], ["....", "....", "....", "...."], id="just the threshold"),
    pytest.param([[0, 0], [0, 0]], [0, 0, 3, 3], ["....", "....", "....", "...."], id="empty mask"),
    pytest.param(WHOLE, [1, 1, 1, 1], ["....", ".#..", "....", "...."], id="one pixel"),
]


def rows_of(rle):
    return ["".join(".#"[int(value)] for value in row) for row in decode_mask(rle)]


@pytest.mark.parametrize("paste", [paste_masks, paste_resized_masks])
def test_nothing_is_pasted_of_no_masks(paste):
    assert paste(np.zeros((0, 28, 28), np.float32), np.zeros((0, 4), np.float32), 5, 7, 0.5, Timings()) == []


@pytest.mark.parametrize(("mask", "box", "expected"), BY_EYE)
def test_paste_masks(mask, box, expected):
    size = len(expected), len(expected[0])
    (rle,) = paste_masks(np.array([mask], np.float32), np.array([box], np.float32), *size, 0.5, Timings())
    assert rows_of(rle) == expected


@pytest.mark.parametrize(("mask", "box", "expected"), RESIZED_BY_EYE)
def test_paste_resized_masks(mask, box, expected):
    size = len(expected), len(expected[0])
    (rle,) = paste_resized_masks(np.array([mask], np.float32), np.array([box], np.float32), *size, 0.5, Timings())
    assert rows_of(rle) == expected


def scene(seed, count=12):
    """Return masks [N,28,28] and boxes [N,4] in a picture of some size: smooth, of noise, flat about 0.5, 0 and 1."""
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(9, 200, 2))
    logits = np.stack([cv2.resize(rng.normal(size=(6, 6)), (28, 28), interpolation=cv2.INTER_CUBIC)] * count)
    scales = np.array([5, 1e-4, 1e-7, 1e3])[np.arange(count) % 4, None, None]
    masks = 1 / (1 + np.exp(-np.clip(scales * logits * rng.normal(size=(count, 1, 1)), -50, 50)))
    masks[::5] = rng.random((len(masks[::5]), 28, 28))
    corners = np.sort(rng.random((count, 2, 2)) * [width, height], axis=1)
    corners[::3] = np.round(corners[::3])
    boxes = corners.reshape(count, 4)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 0.01)
    return masks.astype(np.float32), boxes.astype(np.float32), height, width


def plain_paste(mask, box, height, width):
    """Return the interpolated values [H,W], in float64 over the whole picture."""

    def sampled(values, low, high, side):
        place = (np.arange(side) + 0.5 - low) / (high - low) * len(values) - 0.5
        padded = np.pad(values, ((2, 2), (0, 0)))
        place = np.clip(place, -2, len(values))
        cell = np.floor(place).astype(int)
        share = (place - cell)[:, None]
        return (1 - share) * padded[cell + 2] + share * padded[np.minimum(cell + 3, len(padded) - 1)]

    left, top, right, bottom = box.astype(np.float64)
    by_row = sampled(mask.astype(np.float64), top, bottom, height)
    return sampled(by_row.T, left, right, width).T


@pytest.mark.parametrize("seed", range(6))
def test_paste_masks_is_the_plain_way(seed):
    masks, boxes, height, width = scene(seed)
    sharp = np.flatnonzero(np.arange(len(masks)) % 4 != 2)  # the others are flat: all within rounding of 0.5
    for i, rle in zip(sharp, paste_masks(masks[sharp], boxes[sharp], height, width, 0.5, Timings())):
        values = plain_paste(masks[i], boxes[i], height, width)
        # float32 holds a place among 28 cells to 2e-6; neighbouring cells differ by up to 1
        wrong = (decode_mask(rle) != (values >= 0.5)) & (np.abs(values - 0.5) > 1e-5)
        assert not wrong.any()


def test_the_threshold_is_that_of_the_caller():
    mask = np.full((1, 2, 2), 0.4, np.float32)
    box = np.array([[0, 0, 2, 2]], np.float32)
    for paste in (paste_masks, paste_resized_masks):
        pixels = [decode_mask(paste(mask, box, 2, 2, threshold, Timings())[0]).sum() for threshold in (0.3, 0.5)]
        assert pixels[0] > 0
        assert pixels[1] == 0


@pytest.mark.parametrize("seed", range(6))
def test_paste_resized_masks_is_the_full_frame_way(seed):
    """The frame that Detectron1 fills, from its description: no crop before the end, rows before columns."""
    masks, boxes, height, width = scene(seed)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    for mask, box, rle in zip(masks, boxes, paste_resized_masks(masks, boxes, height, width, 0.5, Timings())):
        half, middle = (box[2:] - box[:2]) * np.float32(0.5), (box[2:] + box[:2]) * np.float32(0.5)
        half *= np.float32(30 / 28)
        left, top, right, bottom = np.concatenate([middle - half, middle + half]).astype(np.int32)
        frame = np.zeros((height + 60, width + 60), bool)  # 30 pixels around: a border is at most 200 / 28 wide
        pixels = cv2.resize(np.pad(mask, 1), (right - left + 1, bottom - top + 1)) > 0.5
        frame[top + 30 : bottom + 31, left + 30 : right + 31] = pixels
        np.testing.assert_array_equal(decode_mask(rle), frame[30:-30, 30:-30])


@pytest.mark.parametrize("seed", range(6))
def test_pixels_at_the_threshold_are_those_of_grid_sample(seed):
    """Bit for bit, also of masks that are flat about one half, where each rounding decides."""
    torch = pytest.importorskip("torch")
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        pytest.skip("this PyTorch does not fuse multiplication and addition as its x86-64 builds do")
    masks, boxes, height, width = scene(seed)
    for mask, box, rle in zip(masks, boxes, paste_masks(masks, boxes, height, width, 0.5, Timings())):
        left, top, right, bottom = torch.from_numpy(box)
        y, x = torch.arange(height) + 0.5, torch.arange(width) + 0.5
        y, x = (y - top) / (bottom - top) * 2 - 1, (x - left) / (right - left) * 2 - 1
        grid = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=2)
        values = torch.nn.functional.grid_sample(torch.from_numpy(mask)[None, None], grid[None], align_corners=False)
        np.testing.assert_array_equal(decode_mask(rle), (values[0, 0] >= 0.5).numpy())


@pytest.mark.detectron2
@pytest.mark.parametrize("seed", range(20))
def test_paste_masks_is_detectron2s(detectron2, seed):
    import torch
    from detectron2.layers.mask_ops import paste_masks_in_image

    masks, boxes, height, width = scene(seed, count=40)
    expected = paste_masks_in_image(torch.from_numpy(masks), torch.from_numpy(boxes), (height, width)).numpy()
    found = paste_masks(masks, boxes, height, width, 0.5, Timings())
    for one, rle in zip(expected, found):
        np.testing.assert_array_equal(decode_mask(rle), one)
