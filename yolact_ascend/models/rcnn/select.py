"""What R-CNN chooses: proposals among the anchors, detections among proposals and classes. All shapes are static.

Choices that leave fewer rows than asked for are padded with a row of zeros, which never survives a later choice.
Sources: facebookresearch/detectron2 @ 02b5c4e2, modeling/proposal_generator/proposal_utils.py and
modeling/roi_heads/fast_rcnn.py; facebookresearch/Detectron @ 04155a0, ops/generate_proposals.py and core/test.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from yolact_ascend.models.rcnn.ascend import positive_scores, suppress_on_ascend
from yolact_ascend.models.rcnn.boxes import clip_boxes, decode_deltas, has_area, with_last_pixel
from yolact_ascend.models.rcnn.nms import suppress
from yolact_ascend.models.values import DETECTRON1, Rcnn

LOWEST = -1e9  # below all logits and scores; PyTorch's exporter takes it for a whole number of 64 bits somewhere


class Chosen(NamedTuple):
    """Boxes [N,4] of which some rows are padding, scores [N], and which rows are real [N]."""

    boxes: torch.Tensor
    scores: torch.Tensor
    is_real: torch.Tensor


def propose(
    anchors: Sequence[torch.Tensor],
    logits: Sequence[torch.Tensor],
    deltas: Sequence[torch.Tensor],
    image_size: torch.Tensor,
    rcnn: Rcnn,
    candidates: int | None = None,
    proposals: int | None = None,
    on_ascend: bool = False,
) -> Chosen:
    """Choose the proposals of one image, best first; the scores are ranks.

    Of each level: anchors [n,4], logits [a,h,w], deltas [4a,h,w], n = h*w*a; image_size [2] is height and width of the
    picture in px. `candidates` of a level and `proposals` of the image are the config's where they are None.
    """
    candidates = candidates or rcnn.rpn_candidates
    proposals = proposals or rcnn.rpn_proposals
    most = min(candidates, max(len(each) for each in anchors))
    boxes, scores = [], []
    for own_anchors, own_logits, own_deltas in zip(anchors, logits, deltas):
        per_cell, height, width = own_logits.shape
        flat = own_logits.permute(1, 2, 0).reshape(-1)
        by_anchor = own_deltas.reshape(per_cell, 4, height, width).permute(2, 3, 0, 1).reshape(-1, 4)
        count = min(most, len(own_anchors))
        best, rows = torch.topk(flat, count)
        decoded = decode_deltas(by_anchor[rows], own_anchors[rows], rcnn.rpn_box_weights, rcnn.dialect)
        boxes.append(_pad_rows(clip_boxes(decoded, image_size, rcnn.dialect), most - count, 0.0))
        scores.append(_pad_rows(best, most - count, LOWEST))
    stacked, best = torch.stack(boxes), torch.stack(scores)  # [L,most,4], [L,most]
    is_padding = best <= LOWEST
    is_candidate = ~is_padding if rcnn.dialect == DETECTRON1 else has_area(stacked) & ~is_padding
    whole = with_last_pixel(stacked, rcnn.dialect)
    if on_ascend:
        ranks = torch.where(is_candidate, positive_scores(best), torch.zeros_like(best))
        kept = suppress_on_ascend(whole, ranks, rcnn.rpn_nms_iou, 0.0, proposals)
    else:
        # Ranks in place of logits: best first by construction, so that engines cannot break ties in different ways.
        ranks = torch.arange(most, 0, -1, device=best.device, dtype=best.dtype).expand(len(boxes), most)
        ranks = torch.where(is_candidate, ranks, torch.zeros_like(ranks))
        kept = suppress(whole, ranks, rcnn.rpn_nms_iou, 0.5)
    return _take_best(stacked.reshape(-1, 4), best.reshape(-1), kept, proposals)[0]


class Found(NamedTuple):
    """The detections of one image, best first: boxes [N,4], scores [N], classes int64 [N], which rows are real [N]."""

    boxes: torch.Tensor
    scores: torch.Tensor
    classes: torch.Tensor
    is_real: torch.Tensor


def choose_detections(
    proposals: Chosen,
    logits: torch.Tensor,
    deltas: torch.Tensor,
    image_size: torch.Tensor,
    rcnn: Rcnn,
    on_ascend: bool = False,
) -> Found:
    """Choose the detections of one image among proposals [N] by class logits [N,K+1] and box deltas [N,4k]."""
    background_first = rcnn.dialect == DETECTRON1
    probabilities = torch.softmax(logits, dim=1)
    scores = (probabilities[:, 1:] if background_first else probabilities[:, :-1]).t()  # [K,N]
    classes, count = scores.shape
    own_deltas = deltas.reshape(count, -1, 4).transpose(0, 1)
    own_deltas = own_deltas[1:] if background_first else own_deltas  # [K,N,4], or [1,N,4]
    boxes = decode_deltas(own_deltas, proposals.boxes, rcnn.box_weights, rcnn.dialect)
    boxes = clip_boxes(boxes, image_size, rcnn.dialect).expand(classes, count, 4)
    is_candidate = (scores > rcnn.score_threshold) & proposals.is_real
    scores = torch.where(is_candidate, scores, torch.zeros_like(scores))
    whole, most = with_last_pixel(boxes, rcnn.dialect), rcnn.max_detections
    if on_ascend:
        kept = suppress_on_ascend(whole, scores, rcnn.nms_iou, rcnn.score_threshold, most)
    else:
        kept = suppress(whole, scores, rcnn.nms_iou, rcnn.score_threshold)
    chosen, ids = _take_best(boxes.reshape(-1, 4), scores.reshape(-1), kept, most)
    zero = torch.zeros_like(ids)
    class_ids = torch.where(chosen.is_real, torch.div(ids, count, rounding_mode="trunc"), zero)
    scores = torch.where(chosen.is_real, chosen.scores, torch.zeros_like(chosen.scores))
    return Found(chosen.boxes, scores, class_ids, chosen.is_real)


def _take_best(
    boxes: torch.Tensor, scores: torch.Tensor, kept: torch.Tensor, count: int
) -> tuple[Chosen, torch.Tensor]:
    """Return the `count` best of boxes [M,4] whose rows [n] are kept, best first and padded, and their rows [count].

    A kept row of M is padding.
    """
    none = len(boxes)
    best, places = torch.topk(_pad_rows(_pad_rows(scores, 1, LOWEST)[kept], count, LOWEST), count)
    rows = _pad_rows(kept, count, none)[places.reshape(count)]  # a graph's TopK forgets its size
    return Chosen(_pad_rows(boxes, 1, 0.0)[rows], best.reshape(count), rows < none), rows


def _pad_rows(values: torch.Tensor, count: int, value: float) -> torch.Tensor:
    """Return values [N,...] with `count` more rows."""
    if not count:
        return values
    shape = count, *map(int, values.shape[1:])
    return torch.cat([values, torch.full(shape, value, dtype=values.dtype, device=values.device)])
