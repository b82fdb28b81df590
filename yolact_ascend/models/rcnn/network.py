"""Faster and Mask R-CNN as one network, whose parts training calls one by one."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from yolact_ascend.detection.tasks import MASK
from yolact_ascend.models.family import ONNX
from yolact_ascend.models.finite import zero_of_numbers
from yolact_ascend.models.rcnn.anchors import make_anchors
from yolact_ascend.models.rcnn.backbone import FPN
from yolact_ascend.models.rcnn.cuts import ASCEND_UNALIGNED, POOLED_LEVELS, rcnn_of
from yolact_ascend.models.rcnn.heads import BoxHead, BoxPredictor, MaskHead, RpnHead
from yolact_ascend.models.rcnn.roi_align import Pooling, pool_levels
from yolact_ascend.models.rcnn.select import Chosen, Found, choose_detections, propose
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
        self.mask_head = MaskHead(config) if MASK in config.tasks else None


class RcnnNetwork(nn.Module):
    """Faster R-CNN, or Mask R-CNN where masks are one of the config's tasks.

    `forward` finds the detections of one image; the other methods are its parts, and take any number of images.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config, self.rcnn, self.operators = config, rcnn_of(config), ONNX
        self.backbone = FPN(config)
        self.proposal_generator = ProposalGenerator(config)
        self.roi_heads = RoiHeads(config)

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return P2..P6, each [B,C,h,w], of normalised images [B,3,H,W]."""
        return self.backbone(images)

    def anchors(self, levels: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Return the anchors of each level [n,4], xyxy in px."""
        size = self.config.preprocessing
        made = make_anchors(self.rcnn, size.height_px, size.width_px)
        return [torch.from_numpy(each.copy()).to(levels[0]) for each in made]

    def score_anchors(self, levels: Sequence[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Return of each level the logits [B,a,h,w] and deltas [B,4a,h,w] of its anchors."""
        return self.proposal_generator.rpn_head(levels)

    def score_boxes(
        self, levels: Sequence[torch.Tensor], boxes: torch.Tensor, image_ids: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return class logits [N,K+1] and deltas [N,4k] of boxes [N,4], each of the image of its id [N]."""
        pooled = pool_levels(levels[:POOLED_LEVELS], boxes, image_ids, self.pooling(self.rcnn.box_pooler_size))
        return self.roi_heads.box_predictor(self.roi_heads.box_head(pooled))

    def mask_features(
        self, levels: Sequence[torch.Tensor], boxes: torch.Tensor, image_ids: torch.Tensor
    ) -> torch.Tensor:
        """Return the pooled features of boxes [N,4], which `roi_heads.mask_head` turns into mask logits [N,k,28,28]."""
        return pool_levels(levels[:POOLED_LEVELS], boxes, image_ids, self.pooling(self.rcnn.mask_pooler_size, True))

    def pooling(self, size: int, for_masks: bool = False) -> Pooling:
        """Return how regions are pooled to size×size bins."""
        samples = self.rcnn.mask_pooler_samples if for_masks else self.rcnn.box_pooler_samples
        is_aligned = self.rcnn.pooler_is_aligned and self.operators != ASCEND_UNALIGNED
        return Pooling(size, samples, is_aligned, self.rcnn.dialect, self.is_for_ascend)

    @property
    def is_for_ascend(self) -> bool:
        """Whether a traced graph has Ascend's operators; the network then computes nothing itself."""
        return self.operators != ONNX

    def with_operators(self, operators: str) -> RcnnNetwork:
        """Return the same network for the export of a graph with these operators, of `cuts.OPERATORS`."""
        network = copy.copy(self)
        network.operators = operators
        return network

    def forward(self, image: torch.Tensor, image_size: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Find the detections of one normalised picture [1,3,H,W] on its canvas.

        image_size [1,2] is the height and width of the picture in px. Returns the outputs of `cuts.cut_outputs`, each
        with a batch axis of 1.
        """
        levels = self.features(image)
        logits, deltas = self.score_anchors(levels)
        proposals = propose(
            self.anchors(levels),
            [each[0] for each in logits],
            [each[0] for each in deltas],
            image_size[0],
            self.rcnn,
            on_ascend=self.is_for_ascend,
        )
        found, class_logits = self._detect(levels, proposals, image_size[0])
        scores = found.scores + zero_of_numbers(*logits, class_logits[None])
        count = found.is_real.to(torch.int32).sum(0, True, dtype=torch.int32)
        outputs: tuple[torch.Tensor, ...] = (found.boxes, scores, found.classes.to(torch.int32), count)
        if self.roi_heads.mask_head is not None:
            outputs = (*outputs, self._masks(levels, found, self.roi_heads.mask_head))
        return tuple(output[None] for output in outputs)

    def _detect(
        self, levels: Sequence[torch.Tensor], proposals: Chosen, image_size: torch.Tensor
    ) -> tuple[Found, torch.Tensor]:
        """Return the detections among proposals, and the class logits [N,K+1] that they are chosen by."""
        first = torch.zeros(len(proposals.boxes), dtype=torch.int64, device=proposals.boxes.device)
        logits, deltas = self.score_boxes(levels, proposals.boxes, first)
        return choose_detections(proposals, logits, deltas, image_size, self.rcnn, self.is_for_ascend), logits

    def _masks(self, levels: Sequence[torch.Tensor], found: Found, head: MaskHead) -> torch.Tensor:
        """Return the probabilities [N,28,28] of the found classes; zeros where there is no detection."""
        first = torch.zeros_like(found.classes)
        pooled = self.mask_features(levels, found.boxes, first)
        masks = torch.sigmoid(head.of_classes(pooled, found.classes))
        return masks * found.is_real[:, None, None].to(masks.dtype)


def run_layers(network: RcnnNetwork, config: ModelConfig) -> None:
    """Run each layer once on PyTorch's device "meta": the heads on as many regions as the exported graph has."""
    rcnn, size, channels = rcnn_of(config), config.preprocessing, config.fpn_channels
    with torch.device("meta"):
        network.score_anchors(network.features(torch.empty(1, 3, size.height_px, size.width_px)))
        heads = network.roi_heads
        heads.box_predictor(heads.box_head(torch.empty(rcnn.rpn_proposals, channels, *2 * [rcnn.box_pooler_size])))
        if heads.mask_head is not None:
            heads.mask_head(torch.empty(rcnn.max_detections, channels, *2 * [rcnn.mask_pooler_size]))
