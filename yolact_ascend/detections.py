"""From the network's outputs for one image to a list of detections, and to COCO's results format.

Source: haotian-liu/yolact_edge @ a9a0028, yolact_edge/layers/functions/detection.py (Fast NMS over all classes).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from yolact_ascend.boxes import decode_boxes, fast_nms, make_anchors, scale_boxes
from yolact_ascend.config import EVALUATION_SETTINGS, DetectionSettings
from yolact_ascend.masks import Rle, encode_masks
from yolact_ascend.timings import Timings

# How many of the best (class, anchor) pairs NMS looks at first, and by how much more when too few are left.
FIRST_PAIRS = 1000
MORE_PAIRS = 4


@dataclass(frozen=True)
class Detections:
    """What was found in one image, best score first; N = 0 is normal.

    class_ids [N] 0..K-1, scores [N] 0..1, boxes_xyxy_px [N,4] whole pixels inside the image, and one mask each.
    """

    class_ids: np.ndarray
    scores: np.ndarray
    boxes_xyxy_px: np.ndarray
    masks: tuple[Rle, ...]

    def __post_init__(self) -> None:
        n = len(self.class_ids)
        shapes = (self.class_ids.shape, self.scores.shape, self.boxes_xyxy_px.shape, (len(self.masks),))
        if shapes != ((n,), (n,), (n, 4), (n,)):
            raise ValueError(f"Detections need class_ids [N], scores [N], boxes [N,4] and N masks; found {shapes}.")
        if not np.issubdtype(self.boxes_xyxy_px.dtype, np.integer):
            raise ValueError(f"boxes_xyxy_px are whole pixels; found {self.boxes_xyxy_px.dtype}.")
        if np.any(self.boxes_xyxy_px[:, :2] > self.boxes_xyxy_px[:, 2:]):
            raise ValueError("boxes_xyxy_px need left <= right and top <= bottom.")

    def __len__(self) -> int:
        return len(self.class_ids)


class Candidates(NamedTuple):
    """Pairs of a class and a box, best score first: class_ids [N], scores [N], and rows [N] of the boxes."""

    class_ids: np.ndarray
    scores: np.ndarray
    rows: np.ndarray


def detect(
    head_outputs: tuple[np.ndarray, np.ndarray, np.ndarray],
    protos: np.ndarray,
    height: int,
    width: int,
    settings: DetectionSettings = EVALUATION_SETTINGS,
    timings: Timings | None = None,
) -> Detections:
    """Detect the instances in one image of height×width pixels.

    Takes the head's loc [A,4], conf logits [A,K+1] and coeffs [A,M], and the prototypes [h,w,M]; all float32.
    """
    timings = timings or Timings()
    loc, conf, coeffs = head_outputs
    with timings.timed("detect"):
        anchor_ids, scores = score_anchors(conf, settings.score_threshold)
        boxes = decode_boxes(loc[anchor_ids], make_anchors()[anchor_ids])  # [n,4] xyxy_rel
        class_ids, scores, rows = suppress_overlaps(scores, boxes, settings)
        # One anchor often appears with several classes; its mask is the same.
        distinct, which = np.unique(rows, return_inverse=True)
        distinct_coeffs = coeffs[anchor_ids[distinct]]
        boxes_px = scale_boxes(boxes[rows], height, width)
    masks = encode_masks(protos, distinct_coeffs, boxes[distinct], height, width, settings.mask_threshold, timings)
    return Detections(class_ids, scores, boxes_px, tuple(masks[i] for i in which))


def keep_scores(detections: Detections, threshold: float) -> Detections:
    """Return the detections that score above the threshold.

    `DetectionSettings.score_threshold` is on an anchor's best class; its other classes may come with lower scores.
    """
    count = int(np.count_nonzero(detections.scores > threshold))  # the best come first
    return Detections(
        detections.class_ids[:count],
        detections.scores[:count],
        detections.boxes_xyxy_px[:count],
        detections.masks[:count],
    )


def score_anchors(conf: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the anchors [n] whose best class exceeds the threshold, and their class probabilities [n,K].

    `conf` are logits [A,K+1], class 0 the background, which does not count as best.
    """
    best = conf[:, 1:].max(axis=1)
    # The softmax of these two alone is never less than that of all; it spares computing most anchors'.
    at_most = 0.5 + 0.5 * np.tanh(0.5 * (best - conf[:, 0]))
    anchor_ids = np.flatnonzero(at_most >= 0.99 * threshold)  # 0.99: room for rounding
    probabilities = softmax(conf[anchor_ids])[:, 1:]
    kept = probabilities.max(axis=1, initial=0) > threshold
    return anchor_ids[kept], probabilities[kept]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the softmax of each row of logits [n,K]."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def suppress_overlaps(scores: np.ndarray, boxes: np.ndarray, settings: DetectionSettings) -> Candidates:
    """Apply Fast NMS to each class of scores [n,K] and boxes [n,4]; return the best over all classes.

    As in upstream every class takes part with every box, whatever its score: NMS has no threshold of its own.
    Of equal scores the lower class, then the lower row, comes first.
    """
    total = scores.size
    count = min(FIRST_PAIRS, total)
    while True:
        # Better-scored boxes alone decide whether a box stays, so the best pairs give the same result as all pairs.
        kept = _suppress_pairs(best_pairs(scores, count), boxes, settings)
        if len(kept.scores) >= settings.max_detections or count == total:
            return Candidates(*(values[: settings.max_detections] for values in kept))
        count = min(count * MORE_PAIRS, total)


def best_pairs(scores: np.ndarray, count: int) -> Candidates:
    """Return the pairs of a class and a row with the `count` best of scores [n,K] and all that equal the last."""
    by_class = scores.T.ravel()  # [K·n]
    lowest = np.partition(by_class, by_class.size - count)[by_class.size - count] if count else np.inf
    pairs = np.flatnonzero(by_class >= lowest)
    pairs = pairs[np.argsort(-by_class[pairs], kind="stable")]
    class_ids, rows = np.divmod(pairs, max(len(scores), 1))
    return Candidates(class_ids, by_class[pairs], rows)


def _suppress_pairs(pairs: Candidates, boxes: np.ndarray, settings: DetectionSettings) -> Candidates:
    kept = np.zeros(len(pairs.class_ids), dtype=bool)
    for class_id in np.unique(pairs.class_ids):
        members = np.flatnonzero(pairs.class_ids == class_id)[: settings.top_k_per_class]
        kept[members] = fast_nms(boxes[pairs.rows[members]], settings.nms_iou_threshold)
    return Candidates(*(values[kept] for values in pairs))


def bbox_results(detections: Detections, image_id: int, category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Return the boxes as entries of COCO's results format; `category_ids` [K] are the classes' ids there."""
    corners = detections.boxes_xyxy_px
    boxes_xywh = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).tolist()
    return _results(detections, image_id, category_ids, "bbox", boxes_xywh)


def mask_results(detections: Detections, image_id: int, category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Return the masks as entries of COCO's results format; `category_ids` [K] are the classes' ids there."""
    return _results(detections, image_id, category_ids, "segmentation", detections.masks)


def _results(
    detections: Detections, image_id: int, category_ids: Sequence[int], key: str, values: Sequence[Any]
) -> list[dict[str, Any]]:
    return [
        {"image_id": image_id, "category_id": category_ids[class_id], key: value, "score": score}
        for class_id, value, score in zip(detections.class_ids.tolist(), values, detections.scores.tolist())
    ]
