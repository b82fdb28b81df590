"""Fast NMS, and standard NMS, over all classes: which pairs of a class and a box stay, from scores and boxes.

Source: haotian-liu/yolact_edge @ a9a0028, yolact_edge/layers/functions/detection.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from yolact_ascend.detection.boxes import fast_nms, standard_nms
from yolact_ascend.detection.thresholds import DetectionSettings

# How many of the best (class, anchor) pairs NMS looks at first, and by how much more when too few are left.
FIRST_PAIRS = 1000
MORE_PAIRS = 4
# Anchors whose softmax is computed at a time: their logits stay in the cache from one pass over them to the next.
SOFTMAX_ROWS = 1024


class Candidates(NamedTuple):
    """Pairs of a class and a box, best score first: class_ids [N], scores [N], and rows [N] of the boxes."""

    class_ids: np.ndarray
    scores: np.ndarray
    rows: np.ndarray


def score_anchors(conf: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the anchors [n] whose best class exceeds the threshold, and that class's probability [n].

    `conf` are logits [A,K+1], class 0 the background, which does not count as best.
    """
    best = conf[:, 1:].max(axis=1)
    # The softmax of these two alone is never less than that of all; it spares computing most anchors'.
    at_most = 0.5 + 0.5 * np.tanh(0.5 * (best - conf[:, 0]))
    anchor_ids = np.flatnonzero(at_most >= 0.99 * threshold)  # 0.99: room for rounding
    probabilities = np.empty(len(anchor_ids), dtype=conf.dtype)
    for start in range(0, len(anchor_ids), SOFTMAX_ROWS):
        part = slice(start, start + SOFTMAX_ROWS)
        probabilities[part] = _best_probability(conf[anchor_ids[part]], best[anchor_ids[part]])
    kept = probabilities > threshold
    return anchor_ids[kept], probabilities[kept]


def _best_probability(logits: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Return the greatest of `softmax(logits)[:, 1:]` [n], to the last bit; `best` is the greatest of logits[:, 1:]."""
    background = logits[:, 0]
    largest = np.maximum(best, background)
    exponentials = np.exp(logits - largest[:, None])
    best_exponential = np.ones_like(largest)  # exp(0)
    behind = np.flatnonzero(background > best)
    best_exponential[behind] = exponentials[behind, 1:].max(axis=1)
    return best_exponential / exponentials.sum(axis=1)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the softmax of each row of logits [n,K]."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def suppress_overlaps(
    best: np.ndarray,
    score: Callable[[np.ndarray], np.ndarray],
    decode: Callable[[np.ndarray], np.ndarray],
    settings: DetectionSettings,
) -> Candidates:
    """Apply NMS to each class of n boxes; return the best over all classes.

    Takes each row's best score [n], and what gives the scores [m,K] and the boxes [m,4] of some rows [m]: few are
    needed. As in upstream every class takes part with every box, whatever its score: Fast NMS has no such threshold.
    Of equal scores the lower class, then the lower row, comes first.
    """
    if settings.standard_nms_px is not None:
        return _suppress_in_turn(score(np.arange(len(best))), decode(np.arange(len(best))), settings)
    count = FIRST_PAIRS
    while True:
        # Better-scored boxes alone decide whether a box stays, so the best pairs give the same result as all pairs.
        chosen = best_rows(best, count)
        scores = score(chosen)
        kept = _suppress_pairs(best_pairs(scores, count), decode(chosen), settings)
        if len(kept.scores) >= settings.max_detections or (len(chosen) == len(best) and count >= scores.size):
            class_ids, kept_scores, rows = (values[: settings.max_detections] for values in kept)
            return Candidates(class_ids, kept_scores, chosen[rows])
        count *= MORE_PAIRS


def _suppress_in_turn(scores: np.ndarray, boxes: np.ndarray, settings: DetectionSettings) -> Candidates:
    """Apply standard NMS to scores [n,K] and boxes_xyxy_rel [n,4], as upstream's `traditional_nms` does.

    A class takes part with the boxes whose score in it exceeds the threshold, however many these are.
    """
    boxes_px = boxes * np.float32(settings.standard_nms_px)
    kept = []
    for class_id, of_class in enumerate(scores.T):
        rows = np.flatnonzero(of_class > settings.score_threshold)
        rows = rows[np.argsort(-of_class[rows], kind="stable")]
        rows = rows[standard_nms(boxes_px[rows], settings.nms_iou_threshold)]
        kept.append(Candidates(np.full(len(rows), class_id), of_class[rows], rows))
    class_ids, values, rows = (np.concatenate(each) for each in zip(*kept))
    best = np.argsort(-values, kind="stable")[: settings.max_detections]
    return Candidates(class_ids[best], values[best], rows[best])


def best_rows(best: np.ndarray, count: int) -> np.ndarray:
    """Return the rows that the best `count` pairs can be of, in order, by each row's best score [n]."""
    # These bests are pairs themselves: the pair at place `count` is no worse than the best at that place.
    return np.flatnonzero(best >= _place(best, count))


def best_pairs(scores: np.ndarray, count: int) -> Candidates:
    """Return the pairs of a class and a row with the `count` best of scores [n,K] and all that equal the last."""
    n = len(scores)
    rows, class_ids = np.nonzero(scores >= _place(scores.max(axis=1, initial=-np.inf), count))
    pairs = np.sort(class_ids * n + rows)
    values = scores.T[np.divmod(pairs, max(n, 1))]
    lowest = _place(values, count)
    best = np.flatnonzero(values >= lowest)
    best = best[np.argsort(-values[best], kind="stable")]
    class_ids, rows = np.divmod(pairs[best], max(n, 1))
    return Candidates(class_ids, values[best], rows)


def _place(values: np.ndarray, count: int) -> float:
    """Return the value at place `count` of [n], the greatest first; without limit where there is none."""
    if count == 0:
        return np.inf
    return np.partition(values, len(values) - count)[len(values) - count] if count <= len(values) else -np.inf


def _suppress_pairs(pairs: Candidates, boxes: np.ndarray, settings: DetectionSettings) -> Candidates:
    by_class = np.argsort(pairs.class_ids, kind="stable")  # in each class the best first
    starts = np.flatnonzero(np.diff(pairs.class_ids[by_class], prepend=-1))
    kept = np.zeros(len(by_class), dtype=bool)
    for start, end in zip(starts, [*starts[1:], len(by_class)]):
        members = by_class[start : min(end, start + settings.top_k_per_class)]
        kept[members] = fast_nms(boxes[pairs.rows[members]], settings.nms_iou_threshold)
    return Candidates(*(values[kept] for values in pairs))
