"""Instance masks from prototypes, straight to COCO's run-length encoding.

A mask is zero outside its box, so it is assembled, upsampled and encoded inside the box only; the pixels are those
of the full-frame way. Source: haotian-liu/yolact_edge @ a9a0028, yolact_edge/layers/output_utils.py.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from yolact_ascend.timings import Timings

# Cells around the box in which the prototypes still count (upstream's `crop`).
CROP_PADDING = 1

Rle = dict  # {"size": [H, W], "counts": str}: COCO's compressed run-length encoding


class Upsampling(NamedTuple):
    """Bilinear interpolation along one axis: for each pixel [target] its lower `cell`, and its `share` of the next."""

    cell: np.ndarray
    share: np.ndarray

    def up(self, padded: np.ndarray, start: int, stop: int) -> tuple[int, np.ndarray]:
        """Upsample the first axis of cells start-1..stop [cells+2,n], the outer two zero, to the pixels they reach.

        Returns the first pixel and the values [pixels,n].
        """
        first, end = self.cell.searchsorted((start - 1, stop))
        lower = self.cell[first:end] - (start - 1)
        share = self.share[first:end, None]
        # In place: for masks of many pixels, fresh memory costs as much as the arithmetic.
        values = padded.take(lower, axis=0)
        values *= 1 - share
        of_next = padded.take(lower + 1, axis=0)
        of_next *= share
        values += of_next
        return int(first), values

    def whole(self, cells: np.ndarray, first: int, end: int) -> np.ndarray:
        """Upsample the first axis of all cells [source,n] to the pixels first..end-1, [pixels,n]."""
        cell, share = self.cell[first:end], self.share[first:end, None]
        following = np.minimum(cell + 1, len(cells) - 1)  # of the last cell, whose share is 0
        return cells.take(cell, axis=0) * (1 - share) + cells.take(following, axis=0) * share


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
    rows = upsampling(protos.shape[0], height)
    columns = upsampling(protos.shape[1], width)
    runs = []
    lap = timings.laps()
    windows = crop_windows(boxes_xyxy_rel, *protos.shape[:2]).tolist()
    for (left, top, right, bottom), coefficients in zip(windows, coeffs):
        # Interpolation reaches one cell beyond the window, where the mask is zero.
        cells = np.zeros((bottom - top + 2, right - left + 2), dtype=np.float32)
        cells[1:-1, 1:-1] = assemble_mask(protos[top:bottom, left:right], coefficients)
        y, by_row = rows.up(cells, top, bottom)  # [pixels,cells+2]
        # Gathering whole rows is much faster than pieces of columns.
        x, by_column = columns.up(np.ascontiguousarray(by_row.T), left, right)  # [columns,rows] of pixels
        is_set = by_column > threshold
        lap("masks")
        runs.append(run_lengths(is_set, x, y, height, width))
        lap("RLE")
    masks = compress_runs(runs, height, width)
    lap("RLE")
    return masks


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
    rows = upsampling(protos.shape[0], height)
    columns = upsampling(protos.shape[1], width)
    windows = crop_windows(boxes_xyxy_rel, height, width).tolist()
    runs = []
    with timings.timed("masks"):
        for (left, top, right, bottom), coefficients in zip(windows, coeffs):
            mask = assemble_mask(protos, coefficients)
            by_row = rows.whole(mask, top, bottom)
            by_column = columns.whole(np.ascontiguousarray(by_row.T), left, right)
            runs.append(run_lengths(by_column > threshold, left, top, height, width))
    return compress_runs(runs, height, width)


def crop_windows(boxes_xyxy_rel: np.ndarray, h: int, w: int) -> np.ndarray:
    """Return the cells [N,4] that boxes [N,4] cover on an h×w grid: left, top, and right, bottom exclusive.

    A window of a box beside the grid is empty, its left not beyond its right.
    """
    size = np.array([w, h], dtype=np.float32)
    corners = boxes_xyxy_rel.reshape(-1, 2, 2) * size  # [N,2,2]
    first = np.ceil(np.clip(corners.min(axis=1) - CROP_PADDING, 0, size))
    end = np.ceil(np.clip(corners.max(axis=1) + CROP_PADDING, 0, size))
    return np.concatenate([first, end], axis=1).astype(np.int32)


def assemble_mask(protos: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Return sigmoid(protos · coefficients) [h,w] of a piece of prototypes [h,w,M] and one detection's [M]."""
    # sigmoid by tanh: no overflow on either side
    return 0.5 * np.tanh(0.5 * (protos @ coefficients)) + np.float32(0.5)


def upsampling(source: int, target: int) -> Upsampling:
    """Return the bilinear interpolation from `source` cells to `target` pixels, ends repeated.

    What PyTorch's `interpolate(mode="bilinear", align_corners=False)` computes along one axis, in float32 as well.
    """
    scale = np.float32(source) / np.float32(target)
    position = np.maximum((np.arange(target, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5), 0)
    cell = np.minimum(position.astype(np.int32), source - 1)
    share = np.where(cell < source - 1, position - cell, 0)  # the last cell has no next
    return Upsampling(cell.astype(np.intp), share.astype(np.float32))


def run_lengths(by_column: np.ndarray, left: int, top: int, height: int, width: int) -> np.ndarray:
    """Return the runs of a mask of height×width whose only set pixels are in `by_column` [columns,rows] at (left, top).

    Column by column, zeros first, as in COCO's uncompressed encoding: only the first run may be empty.
    """
    columns, rows = by_column.shape
    framed = np.zeros((columns + 1, rows + 1), dtype=bool)  # zeros before and after each column's runs of ones
    framed[1:, :rows] = by_column
    line = framed.ravel()[rows:]
    flips = np.flatnonzero(line[1:] != line[:-1])  # starts and ends of runs of ones, in turn
    # Their places in the image, whose columns are longer by so much.
    position = flips // (rows + 1) * (height - rows - 1) + flips + (left * height + top)
    if rows == height:
        # A run down to the image's last row goes on at the top of the next column: there is no flip between the two.
        apart = position[1:-1:2] != position[2::2]
        kept = np.ones(len(position), dtype=bool)
        kept[1:-1:2] = kept[2::2] = apart
        position = position[kept]
    ends = np.empty(len(position) + 1, dtype=position.dtype)
    ends[:-1], ends[-1] = position, height * width
    ends[1:] -= position
    return ends if ends[-1] else ends[:-1]


def compress_runs(runs: list[np.ndarray], height: int, width: int) -> list[Rle]:
    """Return COCO's compressed encoding of masks given as run lengths."""
    if not runs:
        return []
    encoded = coco_mask.frPyObjects([{"size": [height, width], "counts": counts} for counts in runs], height, width)
    return [{"size": [height, width], "counts": rle["counts"].decode("ascii")} for rle in encoded]
