"""The outputs of a cut that ends in detections, compared as sets: which row of one list is which of another.

Rounding turns the order of scores that are next to equal, and drops or keeps a box whose overlap or score is just at a
threshold (IoU 0.5 exactly: ONNX Runtime keeps the box, OpenVINO drops it). Row by row, all that follows would differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from yolact_ascend.detection.boxes import box_iou

BOXES, SCORES, CLASSES, COUNT = "boxes", "scores", "classes", "count"  # outputs of the cut `detections`
# Two boxes are one when they overlap by so much, which NMS lets no two boxes of a class do in one list; or when all
# corners are this close, for boxes of next to no area.
SAME_IOU, SAME_PX = 0.5, 1.0


@dataclass(frozen=True)
class Matched:
    """How many detections two lists have, and how many of them are in both; sums over images."""

    first: int = 0
    second: int = 0
    both: int = 0

    def __add__(self, other: Matched) -> Matched:
        return Matched(self.first + other.first, self.second + other.second, self.both + other.both)


def lists_detections(names: Sequence[str]) -> bool:
    """Tell whether outputs of these names list detections; an .om writes `<node>:<index>:<name>`."""
    return {BOXES, SCORES, CLASSES, COUNT} <= set(map(bare_name, names))


def pair_rows(
    names: Sequence[str], first: Sequence[np.ndarray], second: Sequence[np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray], Matched]:
    """Return two images' outputs with the detections that both have, in the first's order, and how many those are.

    Outputs with a row for each detection [N,...] keep these rows; the others, such as `count`, stay whole.
    """
    named = [{bare_name(name): output for name, output in zip(names, outputs)} for outputs in (first, second)]
    counts = [min(max(int(outputs[COUNT].item()), 0), len(outputs[SCORES])) for outputs in named]
    rows = match_rows(*(_labelled(outputs, count) for outputs, count in zip(named, counts)))
    capacity = len(named[0][SCORES])

    def kept(outputs: Sequence[np.ndarray], chosen: np.ndarray) -> list[np.ndarray]:
        return [
            output[chosen] if bare_name(name) != COUNT and len(output) == capacity else output
            for name, output in zip(names, outputs)
        ]

    return kept(first, rows[0]), kept(second, rows[1]), Matched(counts[0], counts[1], len(rows[0]))


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


def _labelled(outputs: dict[str, np.ndarray], count: int) -> tuple[np.ndarray, np.ndarray]:
    return outputs[BOXES][:count], outputs[CLASSES][:count]


def bare_name(name: str) -> str:
    """Return the name of an output without the node and index that an .om writes before it."""
    return name.rsplit(":", 1)[-1]
