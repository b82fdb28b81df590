"""The anchors of P2..P6, as the network's weights expect them.

Sources: facebookresearch/detectron2 @ 02b5c4e2, modeling/anchor_generator.py; facebookresearch/Detectron @ 04155a0,
modeling/generate_anchors.py.
"""

from __future__ import annotations

import functools

import numpy as np

from yolact_ascend.models.rcnn.cuts import STRIDES
from yolact_ascend.models.values import DETECTRON1, Rcnn


@functools.lru_cache(maxsize=8)
def make_anchors(rcnn: Rcnn, height_px: int, width_px: int) -> tuple[np.ndarray, ...]:
    """Return the anchors of each level, xyxy in px, float32 [h*w*a,4]: row by row, then cell, then size and ratio."""
    levels = []
    for sizes, stride in zip(rcnn.anchor_sizes_px, STRIDES):
        cells = -(-height_px // stride), -(-width_px // stride)
        shifts_y, shifts_x = (np.arange(count, dtype=np.float32) * stride for count in cells)
        corners = np.stack(np.broadcast_arrays(shifts_x[None, :], shifts_y[:, None]), axis=-1)  # [h,w,2]
        anchors = np.tile(corners, 2)[:, :, None] + cell_anchors(rcnn, sizes, stride)  # [h,w,a,4]
        levels.append(anchors.reshape(-1, 4))
        levels[-1].flags.writeable = False
    return tuple(levels)


def cell_anchors(rcnn: Rcnn, sizes: tuple[float, ...], stride: int) -> np.ndarray:
    """Return the anchors of the first cell of a level, float32 [a,4]."""
    if rcnn.dialect == DETECTRON1:
        return _rounded_anchors(rcnn, sizes, stride)
    sides = [(np.sqrt(size**2 / ratio), size, ratio) for size in sizes for ratio in rcnn.aspect_ratios]
    boxes = [(-width / 2, -ratio * width / 2, width / 2, ratio * width / 2) for width, _, ratio in sides]
    return np.array(boxes, np.float32)


def _rounded_anchors(rcnn: Rcnn, sizes: tuple[float, ...], stride: int) -> np.ndarray:
    """Return Detectron's: around the middle of the first cell's pixels, sides whole numbers of strides' eighths."""
    middle = (stride - 1) / 2
    boxes = []
    for ratio in rcnn.aspect_ratios:
        width = np.round(np.sqrt(stride**2 / ratio))
        sides = np.array([width, np.round(width * ratio)])
        for size in sizes:
            half = (sides * size / stride - 1) / 2  # a side of n pixels is from pixel 0 to pixel n-1
            boxes.append([*(middle - half), *(middle + half)])
    return np.array(boxes, np.float32)
