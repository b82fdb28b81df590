"""Masks and their run-length encoding against the full-frame way of PyTorch and pycocotools."""

from __future__ import annotations

import numpy as np
import pytest
from factories import decode_mask

from yolact_ascend.detection import masks
from yolact_ascend.detection.masks import (
    assemble_masks,
    crop_windows,
    encode_masks,
    encode_masks_cut_last,
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


def test_masks_are_the_sigmoid_of_the_combination_within_zeros():
    protos = np.array([[[0, 0], [1, 2]], [[400, 0], [0, 400]]], dtype=np.float32)  # [2,2,2]
    windows = np.array([[0, 0, 2, 2], [1, 1, 1, 1], [1, 0, 2, 1]], np.int32)
    cells = assemble_masks(protos, np.array([[1, -1], [1, 1], [0, 1]], np.float32), windows)
    assert cells.dtype == np.float32
    whole = np.pad([[0.5, 1 / (1 + np.e)], [1, 0]], 1)
    one = np.pad([[1 / (1 + np.exp(-2))]], 1)
    np.testing.assert_allclose(cells, [*whole.ravel(), *np.zeros(4), *one.ravel()], atol=1e-6)


@pytest.mark.parametrize(("source", "target"), [(138, 640), (138, 138), (138, 90), (138, 1), (4, 7), (1, 3)])
def test_upsampling_weighs_like_torch(source, target):
    torch = pytest.importorskip("torch")
    start, share = upsampling(source, target)
    assert len(start) == source + 2 and start[-1] == target
    cell = np.repeat(np.arange(-1, source), np.diff(start))
    weights = np.zeros((target, source), dtype=np.float32)
    weights[np.arange(target), cell] = 1 - share
    weights[np.arange(target), np.minimum(cell + 1, source - 1)] += share
    axis = torch.eye(source)[None]  # [1,source,source]: interpolating the identity gives the weights
    reference = torch.nn.functional.interpolate(axis, target, mode="linear", align_corners=False)[0].T.numpy()
    np.testing.assert_allclose(weights, reference, atol=2e-5)  # a last bit of a position around 138


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

    for name, seconds in (("assemble_masks", 1.0), ("encode_upsampled", 10.0)):
        monkeypatch.setattr(masks, name, taking(seconds, getattr(masks, name)))
    timings = Timings()
    boxes = np.array([[0, 0, 1, 1], [0, 0, 0.5, 0.5]], np.float32)
    encode_masks(np.ones((4, 4, 1), np.float32), np.ones((2, 1), np.float32), boxes, 8, 8, 0.5, timings)
    assert timings.seconds == {"masks": 1.0, "RLE": 10.0}
