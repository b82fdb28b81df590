"""Masks of a fixed resolution, each stretched to its box, as COCO's run lengths: what R-CNN has in place of prototypes.

Two ways, pixel for pixel those of the code that such networks come from. Source: facebookresearch/detectron2 @ 02b5c4e,
layers/mask_ops.py (paste_masks_in_image on a CPU); facebookresearch/Detectron @ 04155a0, core/test.py (segm_results).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import cv2
import numpy as np

from yolact_ascend.detection.run_lengths import Rle, encode_pixels
from yolact_ascend.timings import Timings

PADDING = 1  # cells of zeros around a mask: interpolation beyond its edge falls to zero
# Pixels whose fast value is as close as this to the threshold are computed in Detectron2's order of operations. The
# fast value is a sum of few products of float32 in 0..1, whose rounding is a tenth of this at most.
DOUBTFUL = np.float32(1e-5)

# masks [N,M,M], boxes_xyxy_px [N,4], height, width, threshold, timings -> masks of height×width
Paste = Callable[[np.ndarray, np.ndarray, int, int, float, Timings], "list[Rle]"]


class Samples(NamedTuple):
    """Where pixels lie along one axis of a mask: `first` is the first of them in the image, and for each pixel [n]
    the lower cell (-1: before the mask), its share, and that of the next cell."""

    first: int
    cell: np.ndarray
    share: np.ndarray
    next_share: np.ndarray

    def reaching(self, low: int, high: int) -> Samples:
        """Return the pixels that take part of the cells low..high."""
        start, stop = self.cell.searchsorted((low - 1, high + 1))
        part = slice(start, stop)
        return Samples(self.first + int(start), self.cell[part], self.share[part], self.next_share[part])

    def weights(self, low: int, cells: int) -> np.ndarray:
        """Return how much of each cell low..low+cells-1 each pixel takes [n,cells]; the cells reach all pixels."""
        weights = np.zeros((len(self.cell), cells), np.float32)
        pixels = np.arange(len(self.cell))
        weights[pixels, self.cell - low] = self.share
        weights[pixels, self.cell - low + 1] = self.next_share
        return weights


def paste_masks(
    masks: np.ndarray, boxes_xyxy_px: np.ndarray, height: int, width: int, threshold: float, timings: Timings
) -> list[Rle]:
    """Stretch masks [N,M,M] of 0..1 to boxes [N,4] by bilinear interpolation; a pixel is set from `threshold` on.

    Detectron2's way. The boxes are float32 with a positive size. Pixels are those of a build of PyTorch that fuses
    multiplication and addition, as its own for x86-64 does.
    """
    padded = np.pad(masks, ((0, 0), (PADDING, PADDING), (PADDING, PADDING)))

    def pasted() -> Iterable[tuple[np.ndarray, int, int]]:
        for mask, (left, top, right, bottom) in zip(padded, boxes_xyxy_px.astype(np.float32)):
            rows = _sample_axis(top, bottom, height, masks.shape[1])
            columns = _sample_axis(left, right, width, masks.shape[2])
            yield _paste_mask(mask, rows, columns, np.float32(threshold))

    return _encode(pasted(), height, width, timings)


def paste_resized_masks(
    masks: np.ndarray, boxes_xyxy_px: np.ndarray, height: int, width: int, threshold: float, timings: Timings
) -> list[Rle]:
    """Resize masks [N,M,M] of 0..1 to boxes [N,4] in whole pixels; a pixel is set where it exceeds `threshold`.

    Detectron1's way: right and bottom of a box are its last pixels, and box and mask get a border of a cell of zeros.
    """
    padded = np.pad(masks, ((0, 0), (PADDING, PADDING), (PADDING, PADDING)))
    corners = _expand_boxes(boxes_xyxy_px.astype(np.float32), padded.shape[1] / masks.shape[1]).astype(np.int32)

    def pasted() -> Iterable[tuple[np.ndarray, int, int]]:
        for mask, (left, top, right, bottom) in zip(padded, corners.tolist()):
            resized = cv2.resize(mask, (max(right - left + 1, 1), max(bottom - top + 1, 1)))
            inside = resized[max(0, -top) : max(0, height - top), max(0, -left) : max(0, width - left)]
            yield (inside > threshold).T, max(0, left), max(0, top)

    return _encode(pasted(), height, width, timings)


def _encode(pasted: Iterable[tuple[np.ndarray, int, int]], height: int, width: int, timings: Timings) -> list[Rle]:
    """Return the encoding of masks by columns, each with its left and top in the image, as they are pasted."""
    lap = timings.laps()
    masks = []
    for by_column, left, top in pasted:
        lap("masks")
        masks.append(encode_pixels(by_column, left, top, height, width))
        lap("RLE")
    return masks


def _expand_boxes(boxes_xyxy: np.ndarray, scale: float) -> np.ndarray:
    """Return boxes [N,4] that are larger by `scale` about their middle, in float32."""
    low, high = boxes_xyxy[:, :2], boxes_xyxy[:, 2:]
    half, middle = (high - low) * np.float32(0.5), (high + low) * np.float32(0.5)
    half *= np.float32(scale)
    return np.concatenate([middle - half, middle + half], axis=1)


def _sample_axis(low: np.float32, high: np.float32, side_px: int, cells: int) -> Samples:
    """Return where the pixels in reach of low..high lie on a mask of so many cells."""
    first, end = max(int(np.floor(low)) - 1, 0), min(int(np.ceil(high)) + 1, side_px)
    centres = np.arange(first, max(first, end), dtype=np.float32) + np.float32(0.5)
    with np.errstate(over="ignore", divide="ignore"):  # boxes of next to no size
        relative = (centres - low) / (high - low) * 2 - 1  # -1..1 inside the box
        # Multiplied and subtracted with one rounding, in float64, as a fused instruction does.
        place = ((relative + 1).astype(np.float64) * (cells / 2) - 0.5).astype(np.float32)
    is_near = (place >= -1) & (place < cells)  # the others take no part of any cell
    cell = np.floor(place[is_near])
    next_share = place[is_near] - cell
    start = int(is_near.argmax()) if len(is_near) else 0
    return Samples(first + start, cell.astype(np.intp), 1 - next_share, next_share)


def _paste_mask(
    padded: np.ndarray, rows: Samples, columns: Samples, threshold: np.float32
) -> tuple[np.ndarray, int, int]:
    """Return what a mask [M+2,M+2] sets, by columns [w,h], and the left and top of that in the image."""
    cells = padded >= threshold - DOUBTFUL
    if not cells.any():
        return np.zeros((0, 0), bool), 0, 0
    (top, bottom), (left, right) = (np.flatnonzero(cells.any(axis=axis))[[0, -1]] - PADDING for axis in (1, 0))
    # No pixel exceeds the cells around it, so that only those beside a cell in question matter.
    rows, columns = rows.reaching(top, bottom), columns.reaching(left, right)
    piece = padded[top : bottom + 3, left : right + 3]
    by_row = rows.weights(top - 1, len(piece)).T
    by_column = (columns.weights(left - 1, piece.shape[1]) @ piece.T) @ by_row  # [w,h]
    is_set = by_column >= threshold - DOUBTFUL
    doubtful = np.flatnonzero(is_set != (by_column >= threshold + DOUBTFUL))
    if len(doubtful):
        x, y = np.divmod(doubtful, len(rows.cell))
        is_set[x, y] = _interpolate(padded, rows, columns, y, x) >= threshold
    return is_set, columns.first, rows.first


def _interpolate(padded: np.ndarray, rows: Samples, columns: Samples, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the values of pixels [n] at rows `y` and columns `x` of the samples, rounded as PyTorch's grid_sample.

    Each sum of a product and the rest is rounded once; float64 holds such products of float32 exactly.
    """
    row, column = rows.cell[y] + PADDING, columns.cell[x] + PADDING
    total = np.zeros(len(y), np.float32)
    for down, of_row in ((0, rows.share[y]), (1, rows.next_share[y])):
        for right, of_column in ((0, columns.share[x]), (1, columns.next_share[x])):
            share = (of_row * of_column).astype(np.float64)
            total = (padded[row + down, column + right] * share + total).astype(np.float32)
    return total
