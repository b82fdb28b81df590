"""The prediction head as a network of its own, which the host runs behind the `fpn` cut."""

from __future__ import annotations

import torch
from torch import nn

from yolact_ascend.models.yolact.network import HasHead, HeadTensors


class OnLevels(nn.Module):
    """A network's prediction head as a function of the five levels: what is exported of it."""

    def __init__(self, network: HasHead) -> None:
        super().__init__()
        self.head = network.head

    def forward(self, *levels: torch.Tensor) -> HeadTensors:
        """Map P3..P7 [B,C,h,w] to loc, conf and coeffs."""
        return self.head.predict_levels(list(levels))
