"""Masks and their run-length encoding against the full-frame way of PyTorch and pycocotools."""

from __future__ import annotations

import numpy as np
import pytest
from factories import decode_mask
from pycocotools import mask as coco_mask

from yolact_ascend.detection import masks
from yolact_ascend.detection.masks import (
    assemble_mask,
    compress_runs,
    crop_windows,
    encode_masks,
    encode_masks_cut_last,
    run_lengths,
    upsampling,
)
from yolact_ascend.timings import Timings


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        pytest.param([], [], id="empty"),
        pytest.param([0, 0, 1, 1], [0, 0, 10, 10], id="whole grid"),
        pytest.param([0.3, 0.4, 0.6, 0.8], [2, 3, 7, 9], id="one cell around"),
        pytest.param([0.35, 0.45, 0.65, 0.85], [3, 4, 8, 10], id="cells begin at or after the edge"),
        pytest.param([0.6, 0.8, 0.3, 0.4], [2, 3, 7, 9], id="corners swapped"),
        pytest.param([0.5, 0.5, 0.5, 0.5], [4, 4, 6, 6], id="a point"),
        pytest.param([1.3, 0, 1.6, 1], [10, 0, 10, 10], id="right of the grid"),
        pytest.param([-0.6, 0, -0.3, 1], [0, 0, 0, 10], id="left of the grid"),
    ],
)
def test_crop_windows(box, expected):
    windows = crop_windows(np.array(box, dtype=np.float32).reshape(-1, 4), 10, 10)
    assert windows.tolist() == np.reshape(expected, (-1, 4)).tolist()


def test_assemble_mask_is_the_sigmoid_of_the_combination():
    protos = np.array([[[0, 0], [1, 2]], [[400, 0], [0, 400]]], dtype=np.float32)  # [2,2,2]
    mask = assemble_mask(protos, np.array([1, -1], dtype=np.float32))
    assert mask.dtype == np.float32
    np.testing.assert_allclose(mask, [[0.5, 1 / (1 + np.e)], [1, 0]], atol=1e-6)


@pytest.mark.parametrize(("source", "target"), [(138, 640), (138, 138), (138, 90), (138, 1), (4, 7), (1, 3)])
def test_upsampling_weighs_like_torch(source, target):
    torch = pytest.importorskip("torch")
    cell, share = upsampling(source, target)
    weights = np.zeros((target, source), dtype=np.float32)
    weights[np.arange(target), cell] = 1 - share
    weights[np.arange(target), np.minimum(cell + 1, source - 1)] += share
    axis = torch.eye(source)[None]  # [1,source,source]: interpolating the identity gives the weights
    reference = torch.nn.functional.interpolate(axis, target, mode="linear", align_corners=False)[0].T.numpy()
    np.testing.assert_allclose(weights, reference, atol=2e-5)  # a last bit of a position around 138


RUNS = [
    # pixels as rows of the crop, (left, top), (height, width), runs column by column
    pytest.param([""], (0, 0), (2, 3), [6], id="empty"),
    pytest.param(["00", "00"], (0, 0), (2, 3), [6], id="nothing set"),
    pytest.param(["1"], (1, 0), (2, 3), [2, 1, 3], id="one pixel"),
    pytest.param(["1"], (0, 0), (2, 3), [0, 1, 5], id="first pixel"),
    pytest.param(["1"], (2, 1), (2, 3), [5, 1], id="last pixel"),
    pytest.param(["111", "111"], (0, 0), (2, 3), [0, 6], id="all"),
    pytest.param(["11", "11"], (1, 0), (2, 3), [2, 4], id="columns join"),
    pytest.param(["01", "11"], (0, 0), (2, 2), [1, 3], id="the bottom of a column joins the next one's top"),
    pytest.param(["101", "000", "111"], (0, 0), (3, 3), [0, 1, 1, 1, 2, 2, 1, 1], id="holes"),
    pytest.param(["11", "00"], (0, 0), (2, 2), [0, 1, 1, 1, 1], id="runs end in one column, start in the next"),
]


@pytest.mark.parametrize(("rows", "corner", "size", "expected"), RUNS)
def test_run_lengths(rows, corner, size, expected):
    crop = np.array([[pixel == "1" for pixel in row] for row in rows], dtype=bool)
    left, top = corner
    height, width = size
    full = np.zeros(size, dtype=bool)
    full[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
    runs = run_lengths(crop.T, left, top, height, width)
    assert runs.tolist() == _runs_pixel_by_pixel(full) == expected
    assert compress_runs([runs], height, width)[0]["counts"] == _pycocotools_counts(full)


def test_run_lengths_of_random_crops_are_pycocotools_encoding():
    rng = np.random.default_rng(0)
    for _ in range(300):
        height, width = rng.integers(1, 8, 2)
        top, left = rng.integers(0, height), rng.integers(0, width)
        crop = rng.random((rng.integers(0, height - top + 1), rng.integers(0, width - left + 1))) < rng.random()
        full = np.zeros((height, width), dtype=bool)
        full[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
        [rle] = compress_runs([run_lengths(crop.T, left, top, height, width)], int(height), int(width))
        assert rle["counts"] == _pycocotools_counts(full), full
        np.testing.assert_array_equal(decode_mask(rle), full)


def _runs_pixel_by_pixel(mask: np.ndarray) -> list[int]:
    runs, value = [0], False
    for pixel in mask.T.ravel():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


def _pycocotools_counts(mask: np.ndarray) -> str:
    return coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()


def test_no_masks():
    assert encode_masks(np.zeros((4, 4, 2), np.float32), np.zeros((0, 2)), np.zeros((0, 4)), 10, 10, 0.5) == []


def test_a_weak_mask_reaches_the_edges_of_the_image():
    protos = np.full((5, 5, 1), np.log(0.6 / 0.4), dtype=np.float32)
    box = np.array([[0, 0, 1, 1]], dtype=np.float32)
    [rle] = encode_masks(protos, np.ones((1, 1), dtype=np.float32), box, 40, 30, 0.5)
    assert decode_mask(rle).all()


ODD_BOXES = [
    [0, 0, 1, 1],
    [-1, -1, 2, 2],
    [0.2, 0.2, 0.2, 0.2],
    [-0.5, -0.5, -0.1, 0.3],
    [1.1, 0.1, 1.3, 0.5],
    [0.4, 1.004, 0.9, 1.2],
    [0.7, 0.6, 0.3, 0.2],
]


@pytest.mark.parametrize(
    "size",
    [(426, 640), (640, 427), (138, 138), (90, 100), (50, 640), (1, 3)],
    ids=lambda size: "x".join(map(str, size)),
)
def test_masks_equal_the_full_frame_way(size):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    corner, extent = rng.uniform(-0.1, 0.9, (60, 2)), rng.lognormal(-1.5, 0.8, (60, 2))
    boxes = np.concatenate([ODD_BOXES, np.concatenate([corner, corner + extent], axis=1)]).astype(np.float32)
    coarse = torch.from_numpy(rng.normal(size=(1, 32, 20, 20)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(coarse, (138, 138), mode="bicubic").relu()
    protos = smooth[0].permute(1, 2, 0).numpy().copy()  # [138,138,32]
    coeffs = np.tanh(rng.normal(size=(len(boxes), 32))).astype(np.float32)
    for cuts_first, encode in ((True, encode_masks), (False, encode_masks_cut_last)):
        reference = full_frame_masks(protos, coeffs, boxes, *size, cuts_first)
        found = np.stack([decode_mask(rle) for rle in encode(protos, coeffs, boxes, *size, 0.5)])
        assert found.shape == reference.shape
        assert 0.005 < reference.mean() < 0.5
        assert (found == reference).mean() >= 0.9999  # a pixel whose value is 0.5 to the last bit may differ


def full_frame_masks(protos, coeffs, boxes, height, width, cuts_first) -> np.ndarray:
    """Assemble everywhere, crop, upsample everywhere, threshold: [N,H,W], as YOLACT's paper describes it.

    Or cropped last, at the image's size.
    """
    import torch

    h, w = protos.shape[:2] if cuts_first else (height, width)
    values = torch.from_numpy(protos @ coeffs.T).sigmoid().permute(2, 0, 1)  # [N,h,w]
    x, y = torch.from_numpy(boxes[:, 0::2] * np.float32(w)), torch.from_numpy(boxes[:, 1::2] * np.float32(h))

    def inside(cells, edges):  # [N,cells]
        low, high = edges.min(dim=1, keepdim=True).values - 1, edges.max(dim=1, keepdim=True).values + 1
        return (cells >= low) & (cells < high)

    def upsampled(masks):
        return torch.nn.functional.interpolate(masks[None], (height, width), mode="bilinear", align_corners=False)[0]

    window = inside(torch.arange(h), y)[:, :, None] & inside(torch.arange(w), x)[:, None, :]
    full = upsampled(values * window) if cuts_first else upsampled(values) * window
    return (full > 0.5).numpy()


def test_time_is_counted_where_it_goes(monkeypatch):
    """By a clock that moves only in the functions of each step."""
    now = [0.0]
    monkeypatch.setattr("yolact_ascend.timings.time.thread_time", lambda: now[0])

    def taking(seconds, function):
        def wrapped(*arguments):
            now[0] += seconds
            return function(*arguments)

        return wrapped

    for name, seconds in (("assemble_mask", 1.0), ("run_lengths", 10.0), ("compress_runs", 100.0)):
        monkeypatch.setattr(masks, name, taking(seconds, getattr(masks, name)))
    timings = Timings()
    boxes = np.array([[0, 0, 1, 1], [0, 0, 0.5, 0.5]], np.float32)
    encode_masks(np.ones((4, 4, 1), np.float32), np.ones((2, 1), np.float32), boxes, 8, 8, 0.5, timings)
    assert timings.seconds == {"masks": 2.0, "RLE": 120.0}
