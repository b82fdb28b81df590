"""Matching of anchors with objects: which anchor learns which object.

Source: haotian-liu/yolact_edge @ a9a0028, yolact_edge/layers/box_utils.py (`match`); Liu et al., "SSD" (2016), 2.2.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from yolact_ascend.detection.boxes import box_area, box_iou, encode_boxes

POSITIVE_IOU = 0.5  # an anchor that overlaps an object by this much, or more, learns it
NEGATIVE_IOU = 0.4  # one that overlaps all objects by less learns background; in between, it learns nothing
IGNORED_SHARE = 0.7  # background anchors with more than this share in an ignored region learn nothing

BACKGROUND, NEUTRAL = 0, -1


class Matches(NamedTuple):
    """What each anchor learns: class [A] (1..K, or BACKGROUND, or NEUTRAL), row of its object [A], and loc [A,4]."""

    classes: np.ndarray
    rows: np.ndarray
    loc: np.ndarray


def corners(boxes_cxcywh: np.ndarray) -> np.ndarray:
    """Return boxes [N,4] given by centre and size as left, top, right, bottom."""
    half = boxes_cxcywh[:, 2:] / 2
    return np.concatenate([boxes_cxcywh[:, :2] - half, boxes_cxcywh[:, :2] + half], axis=1)


def match_anchors(
    boxes_xyxy_rel: np.ndarray, class_ids: np.ndarray, ignored_xyxy_rel: np.ndarray, anchors: np.ndarray
) -> Matches:
    """Match anchors [A,4] (cxcywh_rel) with objects: boxes [N,4], class_ids [N] 0..K-1, and ignored regions [M,4].

    Each anchor takes the object that it overlaps most; each object keeps its own anchor, however bad the overlap.
    """
    anchor_boxes = corners(anchors)
    classes = np.zeros(len(anchors), dtype=np.int64)
    rows = np.zeros(len(anchors), dtype=np.int64)
    loc = np.zeros((len(anchors), 4), dtype=np.float32)
    if len(boxes_xyxy_rel):
        overlaps = box_iou(boxes_xyxy_rel, anchor_boxes)  # [N,A]
        best = overlaps.max(axis=0)
        rows = overlaps.argmax(axis=0)
        claimed = claim_anchors(overlaps)
        rows[claimed] = np.arange(len(claimed))
        best[claimed] = 1
        classes = np.where(best < POSITIVE_IOU, NEUTRAL, class_ids[rows] + 1)
        classes[best < NEGATIVE_IOU] = BACKGROUND
        positive = classes > 0
        loc[positive] = encode_boxes(boxes_xyxy_rel[rows[positive]], anchors[positive])
    if len(ignored_xyxy_rel):
        shares = _share_inside(anchor_boxes, ignored_xyxy_rel)
        classes[(classes == BACKGROUND) & (shares > IGNORED_SHARE)] = NEUTRAL
    return Matches(classes, rows, loc)


def claim_anchors(overlaps: np.ndarray) -> np.ndarray:
    """Return for each object of overlaps [N,A] the anchor [N] that is its own, as many as there are (N <= A).

    The object with the best overlap of all takes its anchor first, then the best of the rest.
    """
    count = len(overlaps)
    # At most N-1 anchors are gone when an object's turn comes, so that its N best are enough.
    best = np.stack([_largest(row, count) for row in overlaps])  # [N,N]
    pairs = np.argsort(-np.take_along_axis(overlaps, best, axis=1), axis=None, kind="stable")
    claimed = np.full(count, -1, dtype=np.int64)
    taken: set[int] = set()
    for row, column in zip(*np.unravel_index(pairs, best.shape)):
        anchor = int(best[row, column])
        if claimed[row] < 0 and anchor not in taken:
            claimed[row] = anchor
            taken.add(anchor)
    return claimed


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Return where the `count` largest of some values are, the largest first, and of equal ones the first.

    `argpartition` alone keeps others of equal ones on a CPU with other vector instructions.
    """
    least = np.partition(values, -count)[-count]
    candidates = np.flatnonzero(values >= least)
    return candidates[np.argsort(-values[candidates], kind="stable")[:count]]


def _share_inside(boxes_xyxy: np.ndarray, regions_xyxy: np.ndarray) -> np.ndarray:
    """Return the largest share [N] of each box's area that lies in one of the regions [M,4]."""
    left_top = np.maximum(boxes_xyxy[:, None, :2], regions_xyxy[None, :, :2])
    right_bottom = np.minimum(boxes_xyxy[:, None, 2:], regions_xyxy[None, :, 2:])
    overlap = np.maximum(right_bottom - left_top, 0)
    return (overlap[..., 0] * overlap[..., 1]).max(axis=1) / box_area(boxes_xyxy)
