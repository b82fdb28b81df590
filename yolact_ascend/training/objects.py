"""What an image shows: masks and classes of its objects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np


class Objects(NamedTuple):
    """What an image shows: N masks of 0 and 1, cut to their boxes [N,4], class_ids [N] 0..K-1, and crowds [M,4].

    Whole masks of many objects in a picture of many pixels would take gigabytes.
    """

    masks: Sequence[np.ndarray]
    boxes_xyxy_px: np.ndarray  # whole numbers; right and bottom are exclusive
    class_ids: np.ndarray
    crowds_xyxy_px: np.ndarray


def crop_masks(masks: Iterable[np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
    """Return masks [H,W] of 0 and 1, taken one at a time, cut to their boxes, and these [N,4] xyxy_px."""
    cropped, boxes = [], []
    for mask in masks:
        left, top, right, bottom = tight_box(mask)
        cropped.append(mask[top:bottom, left:right].copy())
        boxes.append((left, top, right, bottom))
    return cropped, np.array(boxes, dtype=np.int64).reshape(-1, 4)


def tight_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom (exclusive) of a mask [H,W]; zeros when it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return (0, 0, 0, 0)
    return (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
