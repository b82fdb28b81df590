"""Faster and Mask R-CNN as one network, whose parts training calls one by one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from yolact_ascend.detection.tasks import MASK
from yolact_ascend.models.rcnn.backbone import FPN
from yolact_ascend.models.rcnn.heads import BoxHead, BoxPredictor, MaskHead, RpnHead
from yolact_ascend.models.values import ModelConfig


class ProposalGenerator(nn.Module):
    """Holds the RPN's head, where Detectron2's state dict has it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.rpn_head = RpnHead(config)


class RoiHeads(nn.Module):
    """Holds the heads on regions, where Detectron2's state dict has them."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.box_head = BoxHead(config)
        self.box_predictor = BoxPredictor(config)
        if MASK in config.tasks:
            self.mask_head = MaskHead(config)


class Rcnn(nn.Module):
    """Faster R-CNN, or Mask R-CNN where masks are one of the config's tasks."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = FPN(config)
        self.proposal_generator = ProposalGenerator(config)
        self.roi_heads = RoiHeads(config)

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return P2..P6, each [B,C,h,w], of normalised images [B,3,H,W]."""
        return self.backbone(images)

    def score_anchors(self, levels: Sequence[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Return of each level the logits [B,a,h,w] and deltas [B,4a,h,w] of its anchors."""
        return self.proposal_generator.rpn_head(levels)
