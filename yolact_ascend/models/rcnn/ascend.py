"""Ascend's operators in place of ONNX's NonMaxSuppression and RoiAlign, which its cards run slowly or not at all.

They exist only in a graph that is traced for export. Source: Ascend/ModelZoo-PyTorch @ 6a2804a35,
ACL_PyTorch/contrib/cv/classfication/MaskRcnn/maskrcnn_detectron2.diff.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from yolact_ascend.models.family import OPERATORS_DOMAIN
from yolact_ascend.models.rcnn.cuts import STRIDES

FINEST_PX = 56  # of a box's side: up to twice of that it is pooled from P2
# Boxes are divided by this in half precision, where the area of a box of 256×256 px is infinite already.
HALF_SCALE = 16.0
# Half precision holds exp(logit) between these with the same relative steps; scores must be above 0.
LEAST_LOGIT, MOST_LOGIT = -9.0, 11.0


def suppress_on_ascend(
    boxes: torch.Tensor, scores: torch.Tensor, iou: float, least_score: float, most: int
) -> torch.Tensor:
    """Do what `nms.suppress` does, for at most `most` boxes of all groups together: rows int64 [most].

    boxes [G,N,4] float32, scores [G,N] of 0 or more. Rows behind the last survivor are G*N. The operator takes and
    gives half precision, so that only the choice is its: each survivor is found again among the boxes of its group.
    """
    groups, count = scores.shape
    halves, half_scores = (boxes / HALF_SCALE).half(), scores.half()
    chosen, chosen_scores, chosen_groups, number = _BatchMultiClassNms.apply(
        halves.transpose(0, 1)[None], half_scores.t()[None], least_score, iou, most
    )
    group_ids = chosen_groups[0].to(torch.int64)
    apart = (halves.float()[group_ids] - chosen[0].float()[:, None]).abs().sum(dim=2)
    apart = apart + (half_scores.float()[group_ids] - chosen_scores[0].float()[:, None]).abs()  # [most,N]
    rows = group_ids * count + apart.argmin(dim=1)
    is_survivor = torch.arange(most) < number.to(torch.int64)
    return torch.where(is_survivor, rows, torch.full_like(rows, groups * count))


def positive_scores(logits: torch.Tensor) -> torch.Tensor:
    """Return scores above 0 in the order of the logits, as half precision tells them apart best."""
    return torch.exp(torch.clamp(logits, LEAST_LOGIT, MOST_LOGIT))


def extract_regions(
    levels: Sequence[torch.Tensor], boxes: torch.Tensor, size: int, samples: int, is_aligned: bool
) -> torch.Tensor:
    """Do what `roi_align.pool_levels` does, of one image: boxes [N,4] -> [N,C,size,size]."""
    regions = torch.cat([torch.zeros_like(boxes[:, :1]), boxes], dim=1)  # the image's index in the batch comes first
    pooled = _RoiExtractor.apply(*levels, regions, size, samples, is_aligned)
    return pooled.reshape(int(boxes.shape[0]), int(levels[0].shape[1]), size, size)  # nothing else states its shape


class _BatchMultiClassNms(torch.autograd.Function):
    """boxes [1,N,C,4], scores [1,N,C] -> boxes [1,M,4], scores [1,M], classes [1,M] and how many rows are real [1]."""

    @staticmethod
    def forward(
        ctx: Any, boxes: torch.Tensor, scores: torch.Tensor, least_score: float, iou: float, most: int
    ) -> tuple[torch.Tensor, ...]:
        return (
            boxes.new_zeros((1, most, 4)),
            scores.new_zeros((1, most)),
            scores.new_zeros((1, most)),
            torch.zeros(1, dtype=torch.int32),
        )

    @staticmethod
    def symbolic(g: Any, boxes: Any, scores: Any, least_score: float, iou: float, most: int) -> Any:
        found = g.op(
            f"{OPERATORS_DOMAIN}::BatchMultiClassNMS",
            boxes,
            scores,
            score_threshold_f=least_score,
            iou_threshold_f=iou,
            max_size_per_class_i=most,
            max_total_size_i=most,
            outputs=4,
        )
        half, whole = boxes.type(), torch.onnx.JitScalarType.INT
        for value, sizes in zip(found, ([1, most, 4], [1, most], [1, most])):
            value.setType(half.with_sizes(sizes))
        found[3].setType(half.with_dtype(whole.dtype()).with_sizes([1]))
        return found


class _RoiExtractor(torch.autograd.Function):
    """P2..P5, each [1,C,h,w], and regions [N,5] -> [N,C,size,size]."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> torch.Tensor:
        *levels, regions, size, _, _ = inputs
        return levels[0].new_zeros((len(regions), levels[0].shape[1], size, size))

    @staticmethod
    def symbolic(g: Any, *inputs: Any) -> Any:
        *tensors, size, samples, is_aligned = inputs
        pooled = g.op(
            f"{OPERATORS_DOMAIN}::RoiExtractor",
            *tensors,
            aligned_i=int(is_aligned),
            finest_scale_i=FINEST_PX,
            pooled_height_i=size,
            pooled_width_i=size,
            pool_mode_s="avg",
            roi_scale_factor_i=0,
            sample_num_i=samples,
            spatial_scale_f=[1 / stride for stride in STRIDES[: len(tensors) - 1]],
        )
        pooled.setType(tensors[0].type().with_sizes([None] * 4))
        return pooled
