"""Non-maximum suppression: in PyTorch by this module, in an ONNX graph by NonMaxSuppression."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def suppress(boxes: torch.Tensor, scores: torch.Tensor, iou: float, least_score: float) -> torch.Tensor:
    """Return which boxes of each group survive, as rows of the boxes of all groups, group*N + box, int64 [n].

    boxes [G,N,4] xyxy, scores [G,N] float32; a box is dropped when it overlaps one of a higher score by more than `iou`
    of their union, or does not score above `least_score`.
    """
    count = int(boxes.shape[1])
    if torch.onnx.is_in_onnx_export():
        found = _NonMaxSuppression.apply(boxes, scores, iou, least_score, count)
    else:
        found = find_survivors(boxes, scores, iou, least_score)
    return found[:, 0] * count + found[:, 1]


def find_survivors(boxes: torch.Tensor, scores: torch.Tensor, iou: float, least_score: float) -> torch.Tensor:
    """Do what `suppress` does, in PyTorch and numpy; returns rows (group, box) int64 [n,2]."""
    kept = []
    for group in range(len(boxes)):
        candidates = torch.nonzero(scores[group] > least_score)[:, 0]
        order = candidates[torch.argsort(scores[group, candidates], descending=True, stable=True)]
        rows = order[torch.from_numpy(_keep_in_order(boxes[group, order], iou)).to(order.device)]
        kept.append(torch.stack([torch.full_like(rows, group), rows], dim=1))
    return torch.cat(kept)


def _keep_in_order(boxes: torch.Tensor, iou: float) -> np.ndarray:
    """Return which boxes [N,4], best first, no better one that is kept overlaps too much, booleans [N]."""
    overlaps = (pairwise_iou(boxes, boxes) > iou).cpu().numpy()
    kept = np.ones(len(boxes), bool)
    for i in range(len(boxes)):
        if kept[i]:
            kept[i + 1 :] &= ~overlaps[i, i + 1 :]
    return kept


def pairwise_iou(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return intersection over union of boxes [N,4] and [M,4], xyxy: [N,M]; NaN for two boxes without area."""
    low, high = torch.maximum(first[:, None, :2], second[:, :2]), torch.minimum(first[:, None, 2:], second[:, 2:])
    intersections = torch.clamp(high - low, min=0).prod(dim=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(dim=1) for boxes in (first, second)]
    return intersections / (areas[0][:, None] + areas[1] - intersections)


class _NonMaxSuppression(torch.autograd.Function):
    """Stands for the ONNX operator while a graph is traced, when no value matters: nothing survives.

    Each group is a batch of one class.
    """

    @staticmethod
    def forward(
        ctx: Any, boxes: torch.Tensor, scores: torch.Tensor, iou: float, least_score: float, most: int
    ) -> torch.Tensor:
        return torch.zeros((0, 2), dtype=torch.int64)

    @staticmethod
    def symbolic(g: Any, boxes: Any, scores: Any, iou: float, least_score: float, most: int) -> Any:
        def constant(value: Any, dtype: torch.dtype) -> Any:
            return g.op("Constant", value_t=torch.tensor(value, dtype=dtype))

        one_class = g.op("Unsqueeze", scores, constant([1], torch.int64))
        found = g.op(
            "NonMaxSuppression",
            boxes,
            one_class,
            constant([most], torch.int64),
            constant([iou], torch.float32),
            constant([least_score], torch.float32),
        )  # rows (batch, class, box)
        return g.op("Gather", found, constant([0, 2], torch.int64), axis_i=1)
