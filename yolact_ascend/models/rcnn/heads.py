"""The heads of Faster and Mask R-CNN, with Detectron2's attribute names so that its weights load strictly.

Source: facebookresearch/detectron2 @ 02b5c4e2, modeling/proposal_generator/rpn.py, modeling/roi_heads/box_head.py,
fast_rcnn.py and mask_head.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from yolact_ascend.models.rcnn.cuts import rcnn_of
from yolact_ascend.models.values import DETECTRON1, ModelConfig, Rcnn


class RpnHead(nn.Module):
    """Levels P2..P6, each [B,C,h,w] -> for each level logits [B,a,h,w] and deltas [B,4a,h,w] of a anchors a cell."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        channels, anchors = config.fpn_channels, rcnn_of(config).anchors_per_cell
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.objectness_logits = nn.Conv2d(channels, anchors, 1)
        self.anchor_deltas = nn.Conv2d(channels, 4 * anchors, 1)

    def forward(self, levels: Sequence[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        hidden = [functional.relu(self.conv(level)) for level in levels]
        return [self.objectness_logits(each) for each in hidden], [self.anchor_deltas(each) for each in hidden]


class BoxHead(nn.Module):
    """Pooled features [n,C,7,7] -> [n,box_channels]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        rcnn = rcnn_of(config)
        channels = config.fpn_channels * rcnn.box_pooler_size**2
        self.layers = [f"fc{i}" for i in range(1, rcnn.box_layers + 1)]
        for name in self.layers:
            self.add_module(name, nn.Linear(channels, rcnn.box_channels))
            channels = rcnn.box_channels

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        x = torch.flatten(pooled, start_dim=1)
        for name in self.layers:
            x = functional.relu(self.get_submodule(name)(x))
        return x


class BoxPredictor(nn.Module):
    """Features [n,box_channels] -> class logits [n,K+1] and box deltas [n,4k], in the order of the dialect.

    k is K in Detectron2's, K+1 (the background's come first) in Detectron's, and 1 (2) where classes share their boxes.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        rcnn = rcnn_of(config)
        boxes = (1 if rcnn.class_agnostic_boxes else config.num_classes) + background_outputs(rcnn)
        self.cls_score = nn.Linear(rcnn.box_channels, config.num_classes + 1)
        self.bbox_pred = nn.Linear(rcnn.box_channels, 4 * boxes)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.cls_score(features), self.bbox_pred(features)


class MaskHead(nn.Module):
    """Pooled features [n,C,14,14] -> mask logits [n,k,28,28].

    k is K in Detectron2's, K+1 (the background's comes first) in Detectron's, and 1 where classes share their masks.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        rcnn = rcnn_of(config)
        channels = config.fpn_channels
        self.layers = [f"mask_fcn{i}" for i in range(1, rcnn.mask_layers + 1)]
        for name in self.layers:
            self.add_module(name, nn.Conv2d(channels, rcnn.mask_channels, 3, padding=1))
            channels = rcnn.mask_channels
        self.deconv = nn.ConvTranspose2d(channels, rcnn.mask_channels, 2, stride=2)
        self.backgrounds = background_outputs(rcnn)
        outputs = 1 if rcnn.class_agnostic_masks else config.num_classes + self.backgrounds
        self.predictor = nn.Conv2d(rcnn.mask_channels, outputs, 1)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        return self.predictor(self._hidden(pooled))

    def of_classes(self, pooled: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Return the mask logits [n,28,28] of one class each, int64 [n], 0..K-1 without the background."""
        hidden = self._hidden(pooled)
        if self.predictor.out_channels == 1:
            return self.predictor(hidden)[:, 0]
        rows = classes + self.backgrounds
        weights = self.predictor.weight[:, None, :, 0, 0][rows]  # [n,1,C]
        assert self.predictor.bias is not None
        logits = torch.bmm(weights, hidden.flatten(2)) + self.predictor.bias[rows][:, None, None]
        return logits.reshape(-1, *hidden.shape[2:])

    def _hidden(self, pooled: torch.Tensor) -> torch.Tensor:
        x = pooled
        for name in self.layers:
            x = functional.relu(self.get_submodule(name)(x))
        return functional.relu(self.deconv(x))


def background_outputs(rcnn: Rcnn) -> int:
    """Return how many outputs of boxes and masks are the background's, before those of the classes."""
    return 1 if rcnn.dialect == DETECTRON1 else 0
