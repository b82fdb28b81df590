"""The anchors of a YOLACT network, derived from its config and the size of the image.

Source: haotian-liu/yolact_edge @ a9a0028, yolact_edge/yolact.py (`make_priors`).
"""

from __future__ import annotations

import functools

import numpy as np

from yolact_ascend.models.config import Anchors
from yolact_ascend.models.yolact.cuts import level_sizes


@functools.cache
def make_anchors(anchors: Anchors, image_size_px: int) -> np.ndarray:
    """Return all anchors [A,4], cxcywh_rel, by level P3..P7, row, column, aspect ratio; read-only.

    They are as large in pixels at every image size (training runs at smaller ones, too), and fewer where it is small.
    Raises ValueError unless there is one scale for each level.
    """
    sizes = level_sizes(image_size_px)
    if len(anchors.scales_px) != len(sizes):
        raise ValueError(f"Expected {len(sizes)} anchor scales, one for each level P3..P7; found {anchors.scales_px}.")
    levels = zip(sizes, anchors.scales_px)
    made = np.concatenate([_level_anchors(cells, scale_px, anchors, image_size_px) for cells, scale_px in levels])
    made.setflags(write=False)  # one array for all callers
    return made


def _level_anchors(cells: int, scale_px: float, anchors: Anchors, image_size_px: int) -> np.ndarray:
    """Return the anchors [cells·cells·ratios,4] of one level, centred in its cells."""
    centres = (np.arange(cells) + 0.5) / cells
    roots = np.sqrt(anchors.aspect_ratios)
    widths = scale_px * roots / image_size_px
    # Square anchors have the width as their height: upstream's published weights were trained that way.
    heights = widths if anchors.is_square else scale_px / roots / image_size_px
    cy, cx, ratio = np.meshgrid(centres, centres, np.arange(len(roots)), indexing="ij")
    return np.stack([cx, cy, widths[ratio], heights[ratio]], axis=-1).reshape(-1, 4).astype(np.float32)
