"""The four losses of YOLACT, over a whole batch at once, in float32.

Source: Bolya et al., "YOLACT" (2019), sections 3.2 and 4.2; haotian-liu/yolact_edge @ a9a0028,
yolact_edge/layers/modules/multibox_loss.py. Weights are those of upstream's configs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional

from yolact_ascend.detection.masks import CROP_PADDING
from yolact_ascend.models.yolact.network import HeadTensors

BOX_WEIGHT = 1.5
MASK_WEIGHT = 6.125
NEGATIVES_PER_POSITIVE = 3


class Targets(NamedTuple):
    """A batch of `samples.Sample`s as tensors: [B,...], with T the most scored anchors of an image, the rest weight 0.

    classes [B,A], loc [B,A,4], class_map [B,K,s,s], anchor_ids [B,T], masks [B,T,p,p], boxes_xyxy_rel [B,T,4],
    mask_weights [B,T].
    """

    classes: torch.Tensor
    loc: torch.Tensor
    class_map: torch.Tensor
    anchor_ids: torch.Tensor
    masks: torch.Tensor
    boxes_xyxy_rel: torch.Tensor
    mask_weights: torch.Tensor


class Losses(NamedTuple):
    """The weighted losses of a batch, each a scalar."""

    box: torch.Tensor
    conf: torch.Tensor
    mask: torch.Tensor
    segmentation: torch.Tensor


def compute_losses(
    head: HeadTensors,
    protos: torch.Tensor,
    class_logits: torch.Tensor,
    targets: Targets,
    background_negatives: int = 0,
) -> Losses:
    """Return the losses of the head's outputs, prototypes [B,p,p,M] and per-class logits [B,K,s,s] on P3.

    The first three are sums over the batch, divided by its positive anchors; a batch without any divides by 1.
    `background_negatives` are scored in each image without positive anchors (0: none, as in upstream); in the class
    loss such an image weighs as much as one with a third as many positives.
    """
    positives = (targets.classes > 0).sum().clamp(min=1)
    return Losses(
        box=BOX_WEIGHT * box_loss(head.loc.float(), targets) / positives,
        conf=conf_loss(head.conf.float(), targets.classes, background_negatives),
        mask=MASK_WEIGHT * mask_loss(head.coeffs.float(), protos.float(), targets) / positives,
        segmentation=segmentation_loss(class_logits.float(), targets.class_map),
    )


def box_loss(loc: torch.Tensor, targets: Targets) -> torch.Tensor:
    """Return the smooth L1 loss of loc [B,A,4], summed over positive anchors."""
    positive = targets.classes > 0
    return functional.smooth_l1_loss(loc[positive], targets.loc[positive], reduction="sum")


def conf_loss(conf: torch.Tensor, classes: torch.Tensor, background_negatives: int = 0) -> torch.Tensor:
    """Return the cross entropy of logits [B,A,K+1] over positives and the hardest negatives, for each positive.

    A background image counts as `background_negatives` / 3 positives.
    """
    scored = (classes > 0) | mine_negatives(conf.detach(), classes, background_negatives)
    total = functional.cross_entropy(conf[scored], classes[scored], reduction="sum")
    weight = (classes > 0).sum()
    if background_negatives:
        empty_images = (~(classes > 0).any(dim=1)).sum()
        weight = weight + empty_images * background_negatives / NEGATIVES_PER_POSITIVE
    return total / weight.clamp(min=1)


def mine_negatives(conf: torch.Tensor, classes: torch.Tensor, background_negatives: int = 0) -> torch.Tensor:
    """Return which background anchors [B,A] to score: in each image the worst three for each positive one.

    In an image without positives they are `background_negatives`. The worst is the one whose background probability is
    the least (logits [B,A,K+1], class 0 the background).
    """
    difficulty = torch.logsumexp(conf, dim=2) - conf[:, :, 0]  # -log of the background's probability
    is_background = classes == 0
    difficulty = difficulty.masked_fill(~is_background, -1)  # below any real one
    ranks = difficulty.argsort(dim=1, descending=True).argsort(dim=1)
    positives = (classes > 0).sum(dim=1, keepdim=True)
    wanted = NEGATIVES_PER_POSITIVE * positives + background_negatives * (positives == 0)
    return is_background & (ranks < wanted)


def mask_loss(coeffs: torch.Tensor, protos: torch.Tensor, targets: Targets) -> torch.Tensor:
    """Return the mean binary cross entropy of each scored anchor's mask inside its object's box, weighted and summed.

    Takes coeffs [B,A,M] and protos [B,p,p,M]. The mean is over the area of the box in cells; cells of `CROP_PADDING`
    around it count, too.
    """
    height, width = protos.shape[1:3]
    chosen = torch.gather(coeffs, 1, targets.anchor_ids[:, :, None].expand(-1, -1, coeffs.shape[2]))  # [B,T,M]
    logits = chosen @ protos.flatten(1, 2).transpose(1, 2)  # [B,T,h·w]
    cells = functional.binary_cross_entropy_with_logits(logits, targets.masks.flatten(2).float(), reduction="none")
    inside = box_windows(targets.boxes_xyxy_rel, height, width).flatten(2)
    sizes = targets.boxes_xyxy_rel[..., 2:] - targets.boxes_xyxy_rel[..., :2]
    areas = (sizes[..., 0] * width * sizes[..., 1] * height).clamp(min=1e-6)
    return ((cells * inside).sum(dim=2) / areas * targets.mask_weights).sum()


def box_windows(boxes_xyxy_rel: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Return which cells of a height×width grid [B,T,height,width] lie in each box [B,T,4] or its padding."""
    size = boxes_xyxy_rel.new_tensor([width, height])
    first = (boxes_xyxy_rel[..., :2] * size - CROP_PADDING).clamp(min=0)
    end = (boxes_xyxy_rel[..., 2:] * size + CROP_PADDING).minimum(size)
    x = torch.arange(width, device=size.device)
    y = torch.arange(height, device=size.device)
    columns = (x >= first[..., :1]) & (x < end[..., :1])  # [B,T,width]
    rows = (y >= first[..., 1:]) & (y < end[..., 1:])  # [B,T,height]
    return rows[..., :, None] & columns[..., None, :]


def segmentation_loss(class_logits: torch.Tensor, class_map: torch.Tensor) -> torch.Tensor:
    """Return the binary cross entropy of logits [B,K,s,s]: summed over classes, mean over cells and images."""
    cells = functional.binary_cross_entropy_with_logits(class_logits, class_map.float(), reduction="sum")
    batch_size, _, height, width = class_logits.shape
    return cells / (batch_size * height * width)
