"""What a YOLACT graph chooses by itself: candidates among the anchors, and detections among these by Fast NMS.

All sizes but the batch are static, and each operator has a kernel on an Atlas 310P (`targets.ascend.kernels`): choices
are 0 or 1 in float32, which is multiplied with. Behind the cuts `candidates` and `detections` the host finds what it
finds behind `heads` (detection.nms), as long as no more anchors pass the threshold than there are candidates.
Source: haotian-liu/yolact_edge @ a9a0028, yolact_edge/layers/functions/detection.py; Bolya et al., "YOLACT", 3.3.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from yolact_ascend.detection.boxes import MAX_LOG_SIZE
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.finite import zero_of_numbers
from yolact_ascend.models.yolact.anchors import make_anchors
from yolact_ascend.models.yolact.cuts import SETTINGS, candidate_rows, detection_rows, image_size_px, rows_per_class
from yolact_ascend.models.yolact.network import HasHead, HeadTensors, WithHeads, decode_on_device

NOT_REAL = -0.5  # scores are 0 or more; what is none gets -1


class Candidates(NamedTuple):
    """The best C anchors, best first: boxes [B,C,4] xyxy_rel, scores [B,C,K+1], coeffs [B,C,M], best scores [B,C].

    `passing` [B,1] int32 is how many of all anchors pass the threshold.
    """

    boxes: torch.Tensor
    scores: torch.Tensor
    coeffs: torch.Tensor
    best: torch.Tensor
    passing: torch.Tensor


class WithCandidates(nn.Module):
    """A network that ends in its best anchors, decoded and scored."""

    def __init__(self, network: HasHead, config: ModelConfig) -> None:
        super().__init__()
        self.with_heads = WithHeads(network)
        self.anchors = torch.from_numpy(make_anchors(config.anchors, image_size_px(config)).copy())
        self.rows = candidate_rows(config)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Map images [B,3,S,S] to boxes, scores, the number of anchors that pass, coeffs and prototypes."""
        *heads, protos = self.with_heads(images)
        found = choose_candidates(HeadTensors(*heads), self.anchors.to(protos.device), self.rows)
        scores = found.scores + zero_of_numbers(heads[1])[:, None, None]
        return found.boxes, scores, found.passing, found.coeffs, protos


class WithDetections(nn.Module):
    """A network that ends in its detections, with what their masks are made of."""

    def __init__(self, network: HasHead, config: ModelConfig) -> None:
        super().__init__()
        self.with_heads = WithHeads(network)
        self.anchors = torch.from_numpy(make_anchors(config.anchors, image_size_px(config)).copy())
        self.rows = candidate_rows(config)
        self.per_class = rows_per_class(config)
        self.most = detection_rows(config)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Map images [B,3,S,S] to boxes, scores, classes, count, coeffs and prototypes."""
        *heads, protos = self.with_heads(images)
        found = choose_candidates(HeadTensors(*heads), self.anchors.to(protos.device), self.rows)
        boxes, scores, *others = choose_detections(found, self.per_class, self.most)
        return boxes, scores + zero_of_numbers(heads[1])[:, None], *others, protos


def choose_candidates(heads: HeadTensors, anchors: torch.Tensor, rows: int) -> Candidates:
    """Choose the best `rows` of the anchors [A,4] by their largest class score, and decode their boxes."""
    probabilities = torch.softmax(heads.conf, -1)
    best_of_each = probabilities[:, :, 1:].amax(-1)  # [B,A]
    passing = _count(best_of_each > SETTINGS.score_threshold)
    best, ids = torch.topk(best_of_each, rows)
    loc, scores, coeffs = (take_rows(values, ids) for values in (heads.loc, probabilities, heads.coeffs))
    own_anchors = anchors.index_select(0, ids.to(torch.int32).reshape(-1)).reshape(-1, rows, 4)
    return Candidates(decode_on_device(loc, own_anchors, MAX_LOG_SIZE), scores, coeffs, best, passing)


def choose_detections(found: Candidates, per_class: int, most: int) -> tuple[torch.Tensor, ...]:
    """Apply Fast NMS to the best `per_class` candidates of each class; return the best `most` of all classes.

    Returns boxes [B,N,4], scores [B,N], classes [B,N] int32, count [B,1] int32 and coeffs [B,N,M]; rows behind the
    count are zeros.
    """
    scores = found.scores[:, :, 1:].permute(0, 2, 1)  # [B,K,C]
    classes = int(scores.shape[1])
    is_candidate = _as_float(found.best > SETTINGS.score_threshold)[:, None]
    ranks, ids = torch.topk(_marked(scores, is_candidate), per_class)  # [B,K,T]
    ids = ids.to(torch.int32).reshape(-1, classes * per_class)
    boxes = take_rows(found.boxes, ids)  # [B,K·T,4]
    is_kept = 1 - fast_nms(boxes.reshape(-1, classes, per_class, 4), SETTINGS.nms_iou_threshold)
    is_kept = is_kept * _as_float(ranks > NOT_REAL)
    best, places = torch.topk(_marked(ranks, is_kept).reshape(-1, classes * per_class), most)
    is_real = _as_float(best > NOT_REAL)
    chosen = take_rows(ids[..., None], places)[..., 0]
    class_of_place = torch.arange(classes, dtype=torch.int32, device=places.device).repeat_interleave(per_class)
    class_ids = class_of_place.index_select(0, places.to(torch.int32).reshape(-1)).reshape(-1, most)
    return (
        take_rows(boxes, places) * is_real[..., None],
        best * is_real,
        class_ids * is_real.to(torch.int32),
        _count(best > NOT_REAL),
        take_rows(found.coeffs, chosen) * is_real[..., None],
    )


def fast_nms(boxes: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Return 1 for each of boxes [B,K,T,4] xyxy, best first, that a better one of its class overlaps, else 0: [B,K,T].

    Without a division: a union of 0 overlaps nothing.
    """
    left, top, right, bottom = (boxes[..., i : i + 1] for i in range(4))  # [B,K,T,1] each

    def shared(low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        ends, starts = torch.minimum(high, high.transpose(2, 3)), torch.maximum(low, low.transpose(2, 3))
        return torch.relu(ends - starts)  # [B,K,T,T]

    intersection = shared(left, right) * shared(top, bottom)
    area = (right - left) * (bottom - top)
    union = area + area.transpose(2, 3) - intersection
    count = int(boxes.shape[2])
    is_better = torch.ones(count, count, device=boxes.device).triu(1)  # row than column
    return (_as_float(intersection > iou_threshold * union) * is_better).amax(2)


def take_rows(values: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Return the rows [B,m] of values [B,n,C] as [B,m,C].

    By one Gather over all images, with indices of 32 bits: those of 64 bits leave the AI Core.
    """
    count, width, wanted = int(values.shape[1]), int(values.shape[2]), int(ids.shape[1])
    first = torch.arange(values.shape[0], dtype=torch.int32, device=ids.device) * count
    rows = (ids.to(torch.int32) + first[:, None]).reshape(-1)
    return values.reshape(-1, width).index_select(0, rows).reshape(-1, wanted, width)


def _marked(scores: torch.Tensor, is_real: torch.Tensor) -> torch.Tensor:
    """Return scores where `is_real` is 1, exactly, and -1 where it is 0."""
    return scores * is_real - (1 - is_real)


def _count(chosen: torch.Tensor) -> torch.Tensor:
    """Return how many of booleans [B,n] are true, int32 [B,1]."""
    return _as_float(chosen).sum(1, keepdim=True).to(torch.int32)


def _as_float(chosen: torch.Tensor) -> torch.Tensor:
    return chosen.to(torch.float32)
