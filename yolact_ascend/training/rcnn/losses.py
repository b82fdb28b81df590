"""The five losses of Mask R-CNN (four without masks), of one batch, in float32.

Source: He et al., "Mask R-CNN" (2017), 3; facebookresearch/detectron2 @ 02b5c4e2, proposal_generator/rpn.py and
roi_heads/ (roi_heads.py, fast_rcnn.py, mask_head.py). All boxes are xyxy in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.nn import functional

from yolact_ascend.models.rcnn.roi_align import Pooling, roi_align
from yolact_ascend.models.values import Rcnn
from yolact_ascend.training.rcnn.matching import draw_scored, encode_deltas, match_boxes, spare_ignored
from yolact_ascend.training.rcnn.samples import Truth

RPN_NEGATIVE_IOU, RPN_POSITIVE_IOU = 0.3, 0.7
RPN_POSITIVE_SHARE = 0.5
REGION_IOU = 0.5
REGION_POSITIVE_SHARE = 0.25
ANCHORS_PER_IMAGE = 256


class Regions(NamedTuple):
    """The regions of one image that the heads learn from: boxes [R,4], classes [R] (K: background), rows of objects."""

    boxes: torch.Tensor
    classes: torch.Tensor
    rows: torch.Tensor


def rpn_losses(
    logits: torch.Tensor,
    deltas: torch.Tensor,
    anchors: torch.Tensor,
    truths: Sequence[Truth],
    rcnn: Rcnn,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the losses of objectness and of boxes, of logits [B,A] and deltas [B,A,4] of all levels' anchors [A,4].

    Both are sums over scored anchors (boxes: the positive ones), divided by the number that may be scored.
    """
    objectness, boxes = logits.new_zeros(()), logits.new_zeros(())
    for image_logits, image_deltas, truth in zip(logits, deltas, truths):
        labels, rows = match_boxes(anchors, truth.boxes, RPN_NEGATIVE_IOU, RPN_POSITIVE_IOU, keep_best=True)
        labels = spare_ignored(labels, anchors, truth.ignored)
        positive, negative = draw_scored(labels, ANCHORS_PER_IMAGE, RPN_POSITIVE_SHARE, generator)
        scored = torch.cat([positive, negative])
        wanted = torch.zeros(len(scored), device=logits.device)
        wanted[: len(positive)] = 1
        objectness = objectness + functional.binary_cross_entropy_with_logits(
            image_logits[scored], wanted, reduction="sum"
        )
        if len(positive):
            targets = encode_deltas(anchors[positive], truth.boxes[rows[positive]], rcnn.rpn_box_weights)
            boxes = boxes + (image_deltas[positive] - targets).abs().sum()
    return objectness / (ANCHORS_PER_IMAGE * len(truths)), boxes / (ANCHORS_PER_IMAGE * len(truths))


def draw_regions(
    proposals: torch.Tensor, truth: Truth, num_classes: int, count: int, generator: torch.Generator
) -> Regions:
    """Draw `count` of an image's proposals [n,4] and of its objects' own boxes; objects come first."""
    boxes = torch.cat([proposals, truth.boxes])
    labels, rows = match_boxes(boxes, truth.boxes, REGION_IOU, REGION_IOU)
    positive, negative = draw_scored(
        spare_ignored(labels, boxes, truth.ignored), count, REGION_POSITIVE_SHARE, generator
    )
    drawn = torch.cat([positive, negative])
    classes = torch.full_like(drawn, num_classes)
    classes[: len(positive)] = truth.class_ids[rows[positive]]
    return Regions(boxes[drawn], classes, rows[drawn])


def head_losses(
    class_logits: torch.Tensor,
    deltas: torch.Tensor,
    regions: Sequence[Regions],
    truths: Sequence[Truth],
    num_classes: int,
    rcnn: Rcnn,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the losses of classes and of boxes, of logits [R,K+1] and deltas [R,4k] of all images' regions.

    Both are divided by the number of regions, objects or not.
    """
    classes = torch.cat([region.classes for region in regions])
    if not len(classes):
        return class_logits.sum() * 0, deltas.sum() * 0
    positive = (classes < num_classes).nonzero()[:, 0]
    boxes = torch.cat([region.boxes for region in regions])[positive]
    targets = torch.cat([object_boxes(region, truth, num_classes) for region, truth in zip(regions, truths)])
    shown = deltas.view(len(deltas), -1, 4)[positive, _own_output(classes[positive], rcnn.class_agnostic_boxes)]
    errors = (shown - encode_deltas(boxes, targets, rcnn.box_weights)).abs().sum()
    return functional.cross_entropy(class_logits, classes), errors / len(classes)


def object_boxes(regions: Regions, truth: Truth, num_classes: int) -> torch.Tensor:
    """Return the boxes [n,4] of the objects that an image's positive regions show."""
    rows = regions.rows[regions.classes < num_classes]
    return truth.boxes[rows]


def mask_loss(
    mask_logits: torch.Tensor, regions: Sequence[Regions], truths: Sequence[Truth], rcnn: Rcnn
) -> torch.Tensor:
    """Return the mean binary cross entropy of logits [P,k,28,28] of positive regions alone, at their classes."""
    if not len(mask_logits):
        return mask_logits.sum() * 0
    size = mask_logits.shape[2]
    wanted = torch.cat(
        [crop_masks(truth.masks[each.rows], each.boxes, size, rcnn.dialect) for each, truth in zip(regions, truths)]
    )
    classes = _own_output(torch.cat([each.classes for each in regions]), rcnn.class_agnostic_masks)
    shown = mask_logits[torch.arange(len(classes), device=classes.device), classes]
    return functional.binary_cross_entropy_with_logits(shown, wanted)


def crop_masks(masks: torch.Tensor, boxes: torch.Tensor, size: int, dialect: str) -> torch.Tensor:
    """Return each of N masks [N,h,w] inside its box [N,4] as size×size cells of 0 and 1."""
    rows = torch.arange(len(boxes), device=boxes.device)
    cropped = roi_align(masks[:, None].float(), boxes, rows, 1.0, Pooling(size, 0, True, dialect))
    return (cropped[:, 0] >= 0.5).float()


def _own_output(classes: torch.Tensor, is_shared: bool) -> torch.Tensor:
    """Return which of a head's outputs belongs to each class [N]: its own, or the one that all classes share."""
    return torch.zeros_like(classes) if is_shared else classes
