"""Boxes of R-CNN in torch: xyxy in px of the canvas; in Detectron's dialect a box of pixels 0..n-1 is n wide.

Sources: facebookresearch/detectron2 @ 02b5c4e2, modeling/box_regression.py and structures/boxes.py;
facebookresearch/Detectron @ 04155a0, utils/boxes.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from yolact_ascend.models.values import DETECTRON1

MOST_GROWTH = math.log(1000 / 16)  # of a side, as a logarithm


def last_pixel(dialect: str) -> float:
    """Return by how much a box's sides are longer than the difference of its corners."""
    return 1.0 if dialect == DETECTRON1 else 0.0


def with_last_pixel(boxes: torch.Tensor, dialect: str) -> torch.Tensor:
    """Return boxes [...,4] whose corners are as far apart as the sides are long, for operators that know no dialect."""
    extra = last_pixel(dialect)
    return boxes + boxes.new_tensor([0.0, 0.0, extra, extra]) if extra else boxes


def decode_deltas(deltas: torch.Tensor, boxes: torch.Tensor, weights: Sequence[float], dialect: str) -> torch.Tensor:
    """Apply deltas dx, dy, dw, dh [...,4], weighted, to boxes [...,4]; returns boxes [...,4]."""
    extra = last_pixel(dialect)
    sizes = boxes[..., 2:] - boxes[..., :2] + extra
    centres = boxes[..., :2] + 0.5 * sizes
    scaled = deltas / deltas.new_tensor(weights)
    new_centres = scaled[..., :2] * sizes + centres
    new_sizes = torch.exp(torch.clamp(scaled[..., 2:], max=MOST_GROWTH)) * sizes
    return torch.cat([new_centres - 0.5 * new_sizes, new_centres + 0.5 * new_sizes - extra], dim=-1)


def clip_boxes(boxes: torch.Tensor, image_size: torch.Tensor, dialect: str) -> torch.Tensor:
    """Clip boxes [...,4] to a picture whose height and width in px are `image_size` [2]."""
    limits = image_size[[1, 0, 1, 0]] - last_pixel(dialect)
    return torch.minimum(torch.clamp(boxes, min=0), limits)


def has_area(boxes: torch.Tensor) -> torch.Tensor:
    """Return which boxes [...,4] have a width and a height above zero, booleans [...]."""
    return (boxes[..., 2:] > boxes[..., :2]).all(dim=-1)


def pyramid_levels(boxes: torch.Tensor, count: int, dialect: str) -> torch.Tensor:
    """Return from which of the levels P2.. each box [N,4] is pooled, 0..count-1 as int64 [N].

    A box of 224×224 px belongs to P4, one of twice the sides to the next coarser level (FPN paper, equation 1).
    """
    extra, smallest = last_pixel(dialect), 1e-6 if dialect == DETECTRON1 else 1e-8
    sizes = boxes[:, 2:] - boxes[:, :2] + extra
    ratios = torch.sqrt(sizes[:, 0] * sizes[:, 1]) / 224 + smallest
    # Counting bounds is floor(log2(ratio)) without a logarithm, which engines round differently.
    bounds = ratios.new_tensor([2.0 ** (level - 2) for level in range(1, count)])
    return (ratios[:, None] >= bounds).to(torch.int64).sum(dim=1)
