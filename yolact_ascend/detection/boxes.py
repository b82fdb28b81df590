"""Box decoding, overlap and Fast NMS, in float32 like the network's outputs.

Boxes are [N,4]: `xyxy` are left, top, right, bottom; `_rel` are fractions of the image, `_px` its pixels.
Source: haotian-liu/yolact_edge @ a9a0028, yolact_edge/layers/box_utils.py and functions/detection.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# What the network predicts is divided by these: centre offsets and log sizes (SSD's "variances").
CENTRE_VARIANCE = 0.1
SIZE_VARIANCE = 0.2
# exp() of more would overflow float32 further on; an image's width is at most e^3.2 times the smallest anchor's.
MAX_LOG_SIZE = 20.0


def decode_boxes(loc: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Turn the network's offsets `loc` [N,4] from `anchors` [N,4] into boxes_xyxy_rel [N,4]."""
    # Same operations in the same order as upstream: a different last bit moves a truncated pixel.
    centres = anchors[:, :2] + loc[:, :2] * np.float32(CENTRE_VARIANCE) * anchors[:, 2:]
    log_sizes = np.minimum(loc[:, 2:] * np.float32(SIZE_VARIANCE), np.float32(MAX_LOG_SIZE))
    sizes = anchors[:, 2:] * np.exp(log_sizes.astype(np.float64)).astype(np.float32)
    top_left = centres - sizes / 2
    return np.concatenate([top_left, sizes + top_left], axis=1)


def encode_boxes(boxes_xyxy_rel: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Turn boxes [N,4] of positive size into offsets `loc` [N,4] from `anchors` [N,4]: undo `decode_boxes`."""
    sizes = boxes_xyxy_rel[:, 2:] - boxes_xyxy_rel[:, :2]
    centres = boxes_xyxy_rel[:, :2] + sizes / 2
    offsets = (centres - anchors[:, :2]) / anchors[:, 2:] / CENTRE_VARIANCE
    return np.concatenate([offsets, np.log(sizes / anchors[:, 2:]) / SIZE_VARIANCE], axis=1).astype(np.float32)


def box_iou(boxes_xyxy: np.ndarray, others_xyxy: np.ndarray) -> np.ndarray:
    """Return the intersection over union [N,M] of boxes [N,4] with others [M,4]; 0 where both have no area."""
    left, top, right, bottom = np.ascontiguousarray(boxes_xyxy.T)[..., None]  # [N,1] each
    other_left, other_top, other_right, other_bottom = np.ascontiguousarray(others_xyxy.T)  # [M] each
    intersection = np.maximum(np.minimum(right, other_right) - np.maximum(left, other_left), 0)  # [N,M]
    intersection *= np.maximum(np.minimum(bottom, other_bottom) - np.maximum(top, other_top), 0)
    union = box_area(boxes_xyxy)[:, None] + box_area(others_xyxy) - intersection
    return intersection / np.where(union > 0, union, 1)


def box_area(boxes_xyxy: np.ndarray) -> np.ndarray:
    """Return the areas [N] of boxes [N,4]."""
    return (boxes_xyxy[:, 2] - boxes_xyxy[:, 0]) * (boxes_xyxy[:, 3] - boxes_xyxy[:, 1])


def fast_nms(boxes_xyxy: np.ndarray, iou_threshold: float) -> np.ndarray:
    """Return which boxes [N,4] of one class to keep, as booleans [N]; the best score comes first.

    A box goes when any better one overlaps it by more than the threshold, even one that goes itself
    (Bolya et al., "YOLACT", section 3.3).
    """
    n = len(boxes_xyxy)
    overlaps = box_iou(boxes_xyxy, boxes_xyxy) > iou_threshold  # [N,N]: row better than column, above the diagonal
    overlaps &= np.arange(n)[:, None] < np.arange(n)
    return np.logical_not(overlaps.any(axis=0))


def standard_nms(boxes_xyxy_px: np.ndarray, iou_threshold: float) -> np.ndarray:
    """Return which boxes [N,4] of one class to keep, as booleans [N]; the best score comes first.

    A box goes when a better one that stays overlaps it by the threshold or more; sides count a pixel more than their
    difference. Source: haotian-liu/yolact_edge @ a9a0028, yolact_edge/utils/cython_nms.pyx.
    """
    wider = boxes_xyxy_px + np.array([0, 0, 1, 1], boxes_xyxy_px.dtype)
    overlaps = box_iou(wider, wider) >= iou_threshold
    kept = np.ones(len(wider), dtype=bool)
    for n in range(len(wider)):
        if kept[n]:
            kept[n + 1 :] &= ~overlaps[n, n + 1 :]
    return kept


def scale_boxes(boxes_xyxy_rel: np.ndarray, height: int, width: int, is_whole: bool = True) -> np.ndarray:
    """Return boxes [N,4] in whole pixels of the image, truncated, corners in order and inside the image.

    float32 where they are not to be whole.

    Upstream's `sanitize_coordinates`, except that a box beside the image becomes an empty one at its edge
    instead of one whose left is beyond its right.
    """
    size = np.array([width, height], dtype=np.float32)
    corners = boxes_xyxy_rel.reshape(-1, 2, 2) * size  # [N,2,2]
    ordered = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)  # [N,4]
    return np.clip(ordered, 0, np.tile(size, 2)).astype(np.int32 if is_whole else np.float32)


def corners_of(bbox: Sequence[float]) -> tuple[float, float, float, float]:
    """Turn COCO's [x, y, width, height] into corners."""
    x, y, width, height = bbox
    return x, y, x + width, y + height
