"""Instance masks from prototypes, straight to COCO's run-length encoding.

A mask is zero outside its box, so it is assembled and upsampled inside the box only; the pixels are those of the
full-frame way. Source: haotian-liu/yolact_edge @ a9a0028, yolact_edge/layers/output_utils.py.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from yolact_ascend.detection.run_lengths import Rle, encode_upsampled
from yolact_ascend.timings import Timings

# Cells around the box in which the prototypes still count (upstream's `crop`).
CROP_PADDING = 1


class Upsampling(NamedTuple):
    """Bilinear interpolation along one axis.

    `start` int32 [source+2] is the first pixel of each cell, from the one before the grid to the one behind it; `share`
    float32 [target] is how much each pixel takes of the next cell.
    """

    start: np.ndarray
    share: np.ndarray


def encode_masks(
    protos: np.ndarray,
    coeffs: np.ndarray,
    boxes_xyxy_rel: np.ndarray,
    height: int,
    width: int,
    threshold: float,
    timings: Timings | None = None,
) -> list[Rle]:
    """Assemble the masks of N detections and encode them at the image's size.

    Takes protos [h,w,M], coeffs [N,M] and boxes [N,4]; a pixel is set where the upsampled mask exceeds `threshold`.
    """
    timings = timings or Timings()
    with timings.timed("masks"):
        windows = crop_windows(boxes_xyxy_rel, *protos.shape[:2])
        cells = assemble_masks(protos, coeffs, windows)
    with timings.timed("RLE"):
        rows, columns = upsampling(protos.shape[0], height), upsampling(protos.shape[1], width)
        left, top, right, bottom = windows.T
        # Interpolation reaches one cell beyond the window, where the mask is zero.
        place = [left, top, right - left + 2, bottom - top + 2]
        pixels = [columns.start[left], rows.start[top], columns.start[right + 1], rows.start[bottom + 1]]
        return encode_upsampled(cells, np.stack(place + pixels, axis=1), rows, columns, height, width, threshold)


def encode_masks_cut_last(
    protos: np.ndarray,
    coeffs: np.ndarray,
    boxes_xyxy_rel: np.ndarray,
    height: int,
    width: int,
    threshold: float,
    timings: Timings | None = None,
) -> list[Rle]:
    """Encode masks like `encode_masks`, but upsample them whole and cut them to their box in the image's pixels."""
    timings = timings or Timings()
    h, w = protos.shape[:2]
    with timings.timed("masks"):
        cells = assemble_masks(protos, coeffs, np.tile(np.array([0, 0, w, h], np.int32), (len(coeffs), 1)))
    with timings.timed("RLE"):
        rows, columns = upsampling(h, height), upsampling(w, width)
        place = np.tile(np.array([0, 0, w + 2, h + 2], np.int32), (len(coeffs), 1))
        extents = np.concatenate([place, crop_windows(boxes_xyxy_rel, height, width)], axis=1)
        return encode_upsampled(cells, extents, rows, columns, height, width, threshold)


def crop_windows(boxes_xyxy_rel: np.ndarray, h: int, w: int) -> np.ndarray:
    """Return the cells [N,4] that boxes [N,4] cover on an h×w grid: left, top, and right, bottom exclusive.

    A window of a box beside the grid is empty, its left not beyond its right.
    """
    size = np.array([w, h], dtype=np.float32)
    corners = boxes_xyxy_rel.reshape(-1, 2, 2) * size  # [N,2,2]
    first = np.ceil(np.clip(corners.min(axis=1) - CROP_PADDING, 0, size))
    end = np.ceil(np.clip(corners.max(axis=1) + CROP_PADDING, 0, size))
    return np.concatenate([first, end], axis=1).astype(np.int32)


def assemble_masks(protos: np.ndarray, coeffs: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Return sigmoid(protos · coefficients) inside N windows [N,4] of cells, each within a border of zeros, one array.

    Takes protos [h,w,M] and coeffs [N,M]; gives the cells of one window after the other, each by rows.
    """
    widths, heights = windows[:, 2] - windows[:, 0], windows[:, 3] - windows[:, 1]
    ends = np.cumsum((widths + 2) * (heights + 2)).tolist()
    cells = np.full(ends[-1] if ends else 0, -np.inf, np.float32)  # the border's sigmoid is 0
    starts = [0, *ends]
    for (left, top, right, bottom), coefficients, start, end in zip(windows.tolist(), coeffs, starts, ends):
        window = cells[start:end].reshape(bottom - top + 2, right - left + 2)
        window[1:-1, 1:-1] = protos[top:bottom, left:right] @ coefficients
    # Sigmoid by tanh: no overflow on either side. In place: fresh memory costs as much as the arithmetic.
    cells *= np.float32(0.5)
    np.tanh(cells, out=cells)
    cells *= np.float32(0.5)
    cells += np.float32(0.5)
    return cells


def upsampling(source: int, target: int) -> Upsampling:
    """Return the bilinear interpolation from `source` cells to `target` pixels, ends repeated.

    What PyTorch's `interpolate(mode="bilinear", align_corners=False)` computes along one axis, in float32 as well.
    """
    scale = np.float32(source) / np.float32(target)
    position = np.maximum((np.arange(target, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5), 0)
    cell = np.minimum(position.astype(np.int32), source - 1)
    share = np.where(cell < source - 1, position - cell, 0)  # the last cell has no next
    start = cell.searchsorted(np.arange(-1, source + 1))
    return Upsampling(start.astype(np.int32), share.astype(np.float32))
