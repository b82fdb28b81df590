"""ROIAlign: in PyTorch by this module, differentiable; in an ONNX graph by RoiAlign.

Sources: He et al. 2017, "Mask R-CNN", section 3; facebookresearch/detectron2 @ 02b5c4e2, layers/roi_align.py and
modeling/poolers.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from yolact_ascend.models.rcnn.ascend import extract_regions
from yolact_ascend.models.rcnn.boxes import has_area, pyramid_levels
from yolact_ascend.models.rcnn.cuts import STRIDES


@dataclass(frozen=True)
class Pooling:
    """How regions are pooled: bins along each side, samples along each side of a bin (0: as many as it has cells)."""

    size: int
    samples: int
    is_aligned: bool
    dialect: str
    on_ascend: bool = False  # by Ascend's operator, which only an exported graph has


def pool_levels(
    levels: Sequence[torch.Tensor], boxes: torch.Tensor, image_ids: torch.Tensor, pooling: Pooling
) -> torch.Tensor:
    """Pool each box from the level that its size belongs to.

    levels P2.. [B,C,h,w] each, boxes [N,4] xyxy in px of the canvas, image_ids int64 [N] -> [N,C,size,size].
    """
    if torch.onnx.is_in_onnx_export() and pooling.is_aligned and not pooling.samples:
        # A box without area has no samples, so that its bins are 0; OpenVINO's RoiAlign makes NaN of it.
        is_sound = has_area(boxes)[:, None]
        sound = torch.where(is_sound, boxes, boxes.new_tensor([0.0, 0.0, 1.0, 1.0]))
        return _pool_levels(levels, sound, image_ids, pooling) * is_sound[:, :, None, None].to(boxes.dtype)
    return _pool_levels(levels, boxes, image_ids, pooling)


def _pool_levels(
    levels: Sequence[torch.Tensor], boxes: torch.Tensor, image_ids: torch.Tensor, pooling: Pooling
) -> torch.Tensor:
    if pooling.on_ascend:
        return extract_regions(levels, boxes, pooling.size, pooling.samples, pooling.is_aligned)
    of_box = pyramid_levels(boxes, len(levels), pooling.dialect)
    rows, pooled = [], []
    for i, (level, stride) in enumerate(zip(levels, STRIDES)):
        rows.append(torch.nonzero(of_box == i)[:, 0])
        pooled.append(pool_level(level, boxes[rows[-1]], image_ids[rows[-1]], 1 / stride, pooling))
    order = torch.cat(rows)
    place = torch.zeros_like(of_box).scatter(0, order, torch.arange(len(boxes), device=order.device))
    return torch.cat(pooled)[place]


def pool_level(
    features: torch.Tensor, boxes: torch.Tensor, image_ids: torch.Tensor, scale: float, pooling: Pooling
) -> torch.Tensor:
    """Pool boxes [N,4] from one level [B,C,h,w], whose cells are 1/scale px: [N,C,size,size]."""
    pool = _RoiAlign.apply if torch.onnx.is_in_onnx_export() else roi_align
    return pool(features, boxes, image_ids, scale, pooling)


def roi_align(
    features: torch.Tensor, boxes: torch.Tensor, image_ids: torch.Tensor, scale: float, pooling: Pooling
) -> torch.Tensor:
    """Do what `pool_level` does, in PyTorch; gradients flow to the features."""
    channels, height, width = features.shape[1:]
    corners = boxes.detach() * scale - (0.5 if pooling.is_aligned else 0.0)
    sizes = corners[:, 2:] - corners[:, :2]
    if not pooling.is_aligned:
        sizes = torch.clamp(sizes, min=1)
    bins = sizes / pooling.size
    counts = torch.full_like(bins, pooling.samples) if pooling.samples else torch.ceil(bins)
    cells = features.permute(0, 2, 3, 1).reshape(-1, channels)  # [B*h*w,C]
    pooled, order = [cells.new_zeros(0, channels)], [image_ids.new_zeros(0)]
    for columns, lines in torch.unique(counts, dim=0).to(torch.int64).tolist():  # boxes with as many samples at once
        rows = torch.nonzero((counts[:, 0] == columns) & (counts[:, 1] == lines))[:, 0]
        order.append(rows)
        if columns < 1 or lines < 1:  # no samples
            pooled.append(cells.new_zeros(len(rows) * pooling.size**2, channels))
            continue
        xs, x_weights = _taps(corners[rows, 0], bins[rows, 0], columns, width, pooling.size)
        ys, y_weights = _taps(corners[rows, 1], bins[rows, 1], lines, height, pooling.size)
        ys = (ys + image_ids[rows, None, None] * height) * width
        # Each bin is a weighted sum of cells: [n,size,1,taps,1] with [n,1,size,1,taps].
        indices = (ys[:, :, None, :, None] + xs[:, None, :, None, :]).reshape(len(rows) * pooling.size**2, -1)
        weights = (y_weights[:, :, None, :, None] * x_weights[:, None, :, None, :]).reshape(indices.shape)
        pooled.append(functional.embedding_bag(indices, cells, per_sample_weights=weights, mode="sum"))
    by_box = torch.cat(pooled).reshape(-1, pooling.size, pooling.size, channels)
    return by_box[torch.argsort(torch.cat(order))].permute(0, 3, 1, 2)


def _taps(
    starts: torch.Tensor, bins: torch.Tensor, samples: int, length: int, size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the cells along one axis that each bin reads, and their weights: both [n,size,2*samples].

    starts and bins [n] are a box's edge and the side of its bins in cells; samples are linear between two cells of the
    axis' `length`, and nothing where they are more than a cell outside.
    """
    steps = torch.arange(size * samples, device=starts.device, dtype=starts.dtype).reshape(size, samples)
    bin_ids = torch.div(steps, samples, rounding_mode="floor")
    places = (
        starts[:, None, None]
        + bin_ids * bins[:, None, None]
        + (steps - bin_ids * samples + 0.5) * bins[:, None, None] / samples
    )
    is_inside = (places >= -1) & (places <= length)
    places = places.clamp(0, length - 1)
    low = places.floor()
    high_weights = places - low
    high = torch.clamp(low + 1, max=length - 1)
    weights = torch.stack([1 - high_weights, high_weights], dim=-1) * is_inside[..., None] / samples
    cells = torch.stack([low, high], dim=-1).to(torch.int64)
    return cells.flatten(2), weights.flatten(2)


class _RoiAlign(torch.autograd.Function):
    """Stands for the ONNX operator while a graph is traced, when no value matters."""

    @staticmethod
    def forward(
        ctx: Any, features: torch.Tensor, boxes: torch.Tensor, image_ids: torch.Tensor, scale: float, pooling: Pooling
    ) -> torch.Tensor:
        return features.new_zeros((len(boxes), features.shape[1], pooling.size, pooling.size))

    @staticmethod
    def symbolic(g: Any, features: Any, boxes: Any, image_ids: Any, scale: float, pooling: Pooling) -> Any:
        return g.op(
            "RoiAlign",
            features,
            boxes,
            image_ids,
            coordinate_transformation_mode_s="half_pixel" if pooling.is_aligned else "output_half_pixel",
            mode_s="avg",
            output_height_i=pooling.size,
            output_width_i=pooling.size,
            sampling_ratio_i=pooling.samples,
            spatial_scale_f=scale,
        )
