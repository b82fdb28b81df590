"""The outputs of a cut that ends in detections or candidates, compared as sets: which row is which of another list.

Rounding turns the order of scores that are next to equal, and drops or keeps a box whose overlap or score is just at a
threshold (IoU 0.5 exactly: ONNX Runtime keeps the box, OpenVINO drops it). Row by row, all that follows would differ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from yolact_ascend.detection.boxes import box_iou
from yolact_ascend.detection.output_names import BOXES, CLASSES, COEFFS, COUNT, SCORES, WHOLE

# Two boxes are one when they overlap by so much, which NMS lets no two boxes of a class do in one list; or when all
# corners are this close, for boxes of next to no area.
SAME_IOU, SAME_PX = 0.5, 1.0
FRACTIONS_PX = 550.0  # what boxes in fractions of the image, those of YOLACT, are multiplied with for that
# Two candidates are one when they are each other's nearest, and this near: the length of the difference of all their
# values, boxes as fractions of the image, scores and coefficients.
SAME_DISTANCE = 1.0


@dataclass(frozen=True)
class Matched:
    """How many detections two lists have, and how many of them are in both; sums over images."""

    first: int = 0
    second: int = 0
    both: int = 0

    def __add__(self, other: Matched) -> Matched:
        return Matched(self.first + other.first, self.second + other.second, self.both + other.both)


def lists_detections(names: Sequence[str]) -> bool:
    """Tell whether outputs of these names list detections or candidates; an .om writes `<node>:<index>:<name>`."""
    return {BOXES, SCORES, COUNT} <= set(map(bare_name, names))


def count_rows(outputs: Mapping[str, np.ndarray]) -> int:
    """Return how many rows of one image's outputs, by their bare names, are real: at most as many as there are."""
    return min(max(int(outputs[COUNT].item()), 0), len(outputs[SCORES]))


def pair_rows(
    names: Sequence[str],
    first: Sequence[np.ndarray],
    second: Sequence[np.ndarray],
    *,
    all_candidates: bool = False,
) -> tuple[list[np.ndarray], list[np.ndarray], Matched]:
    """Return two images' outputs with the detections that both have, in the first's order, and how many those are.

    Outputs with a row for each detection [N,...] keep these rows; the others, `count` and `protos`, stay whole. With
    `all_candidates` the rows of candidates that do not pass the threshold count, too.
    """
    named = [{bare_name(name): output for name, output in zip(names, outputs)} for outputs in (first, second)]
    is_whole = all_candidates and CLASSES not in named[0]
    counts = [len(outputs[SCORES]) if is_whole else count_rows(outputs) for outputs in named]
    rows = match_lists(*(_rows_of(outputs, count) for outputs, count in zip(named, counts)))

    def kept(outputs: Mapping[str, np.ndarray], chosen: np.ndarray) -> list[np.ndarray]:
        return [output if name in WHOLE else output[chosen] for name, output in outputs.items()]

    return kept(named[0], rows[0]), kept(named[1], rows[1]), Matched(counts[0], counts[1], len(rows[0]))


def match_lists(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return which row of the first list is which of the second, [n] each; lists are outputs [N,...] by bare name."""
    if CLASSES in first:
        scale = FRACTIONS_PX if COEFFS in first else 1.0
        return match_rows(*((side[BOXES].reshape(-1, 4) * scale, side[CLASSES].ravel()) for side in (first, second)))
    # Many candidates are of one object, with next to the same box: all that is known of a row tells them apart.
    return _match_nearest(
        *(np.concatenate([_flat(rows) for rows in side.values()], axis=1) for side in (first, second))
    )


def match_rows(
    first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return which row of the first list is which of the second, [n] each, in the first's order.

    A list is boxes_xyxy [N,4], the best first, and their classes [N]. Each row takes the row of its class that it
    overlaps most and that no better one took.
    """
    (boxes, classes), (others, other_classes) = first, second
    alike = box_iou(boxes.astype(np.float64), others.astype(np.float64))  # [N,M]
    distances = np.abs(boxes[:, None].astype(np.float64) - others[None]).max(axis=2, initial=0)
    alike[distances <= SAME_PX] = np.maximum(alike[distances <= SAME_PX], 1 - distances[distances <= SAME_PX] / 2)
    alike[classes[:, None] != other_classes] = 0
    pairs = []
    for row in range(len(boxes)):
        if not len(others):
            break
        best = int(alike[row].argmax())
        if alike[row, best] >= SAME_IOU:
            pairs.append((row, best))
            alike[:, best] = 0
    left, right = np.array(pairs, np.intp).reshape(-1, 2).T
    return left, right


def _match_nearest(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows [N,F] and [M,F] that are each other's nearest, and near."""
    if not len(first) or not len(second):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    squares = [(side * side).sum(axis=1) for side in (first, second)]
    distances = squares[0][:, None] + squares[1] - 2 * first @ second.T  # [N,M], squared
    nearest, back = distances.argmin(axis=1), distances.argmin(axis=0)
    rows = np.arange(len(first))
    is_pair = (back[nearest] == rows) & (distances[rows, nearest] <= SAME_DISTANCE**2)
    return rows[is_pair], nearest[is_pair]


def _rows_of(outputs: Mapping[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    return {name: output[:count] for name, output in outputs.items() if name not in WHOLE}


def _flat(rows: np.ndarray) -> np.ndarray:
    return rows.reshape(len(rows), math.prod(rows.shape[1:])).astype(np.float64)


def bare_name(name: str) -> str:
    """Return the name of an output without the node and index that an .om writes before it."""
    return name.rsplit(":", 1)[-1]
