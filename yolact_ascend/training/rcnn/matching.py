"""Which anchors and proposals learn which objects, and which of them are scored.

Source: Ren et al., "Faster R-CNN" (2015), 3.1.2; facebookresearch/detectron2 @ 02b5c4e2, modeling/matcher.py and
sampling.py. All boxes are xyxy in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

NEGATIVE, NEUTRAL = 0, -1
IGNORED_SHARE = 0.7  # of a box in an ignored region: it is not background


class Matches(NamedTuple):
    """For each box its label (1: an object, NEGATIVE, NEUTRAL) and the row [N] of the object that it overlaps most."""

    labels: torch.Tensor
    rows: torch.Tensor


def box_ious(boxes: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Return the overlap [N,M] (IoU) of boxes [N,4] with others [M,4]."""
    overlap = _overlaps(boxes, others)
    union = _areas(boxes)[:, None] + _areas(others) - overlap
    return torch.where(overlap > 0, overlap / union, torch.zeros_like(overlap))


def match_boxes(
    boxes: torch.Tensor, objects: torch.Tensor, negative_iou: float, positive_iou: float, keep_best: bool = False
) -> Matches:
    """Match boxes [N,4] with objects [M,4]: negative below one overlap, positive from the other on.

    With `keep_best`, the boxes that overlap an object most are positive, however bad the overlap (they keep the row of
    the object that they themselves overlap most, as in Detectron2).
    """
    if not len(objects):
        nothing = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
        return Matches(nothing, nothing)
    ious = box_ious(objects, boxes)
    best, rows = ious.max(dim=0)
    labels = torch.full_like(rows, NEUTRAL)
    labels[best < negative_iou] = NEGATIVE
    labels[best >= positive_iou] = 1
    if keep_best:
        labels[(ious == ious.max(dim=1, keepdim=True).values).any(dim=0)] = 1
    return Matches(labels, rows)


def spare_ignored(labels: torch.Tensor, boxes: torch.Tensor, ignored: torch.Tensor) -> torch.Tensor:
    """Return the labels [N] without the negatives that lie in one of the ignored regions [M,4]."""
    if not len(ignored):
        return labels
    shares = (_overlaps(boxes, ignored) / _areas(boxes).clamp(min=1e-6)[:, None]).amax(dim=1)
    return torch.where((labels == NEGATIVE) & (shares > IGNORED_SHARE), torch.full_like(labels, NEUTRAL), labels)


def draw_scored(
    labels: torch.Tensor, count: int, positive_share: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw rows of positive and of negative boxes: `count` together, of them at most that share positive."""
    positive, negative = (labels > 0).nonzero()[:, 0], (labels == NEGATIVE).nonzero()[:, 0]
    positives = min(len(positive), int(count * positive_share))
    negatives = min(len(negative), count - positives)
    return (
        positive[torch.randperm(len(positive), generator=generator)[:positives].to(labels.device)],
        negative[torch.randperm(len(negative), generator=generator)[:negatives].to(labels.device)],
    )


def encode_deltas(boxes: torch.Tensor, targets: torch.Tensor, weights: Sequence[float]) -> torch.Tensor:
    """Return what `models.rcnn.boxes.decode_deltas` turns boxes [N,4] into targets [N,4] by."""
    sides, target_sides = boxes[:, 2:] - boxes[:, :2], targets[:, 2:] - targets[:, :2]
    centres, target_centres = boxes[:, :2] + sides / 2, targets[:, :2] + target_sides / 2
    deltas = torch.cat([(target_centres - centres) / sides, torch.log(target_sides / sides)], dim=1)
    return deltas * deltas.new_tensor(weights)


def _areas(boxes: torch.Tensor) -> torch.Tensor:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _overlaps(boxes: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Return the area [N,M] that boxes [N,4] and others [M,4] share."""
    sides = torch.minimum(boxes[:, None, 2:], others[:, 2:]) - torch.maximum(boxes[:, None, :2], others[:, :2])
    return sides.clamp(min=0).prod(dim=2)
