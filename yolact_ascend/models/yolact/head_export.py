"""The prediction head as an ONNX model of its own, which the host runs behind the `fpn` cut."""

from __future__ import annotations

import torch
from torch import nn

from yolact_ascend.files import path_in_memory
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.exporter import write_onnx
from yolact_ascend.models.yolact.cuts import FPN, HEADS, cut_outputs
from yolact_ascend.models.yolact.network import HeadTensors, PredictionHead


def export_heads(head: PredictionHead, config: ModelConfig) -> bytes:
    """Return a prediction head as ONNX: the levels P3..P7 of one image to loc, conf and coeffs."""
    *levels, _ = cut_outputs(config, FPN)
    *names, _ = (output.name for output in cut_outputs(config, HEADS))
    with path_in_memory("heads.onnx") as path:
        write_onnx(OnLevels(head).eval(), path, levels, names, has_free_batch=False)
        return path.read_bytes()


class OnLevels(nn.Module):
    """A prediction head as a function of the five levels: what is exported of it."""

    def __init__(self, head: PredictionHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, *levels: torch.Tensor) -> HeadTensors:
        """Map P3..P7 [B,C,h,w] to loc, conf and coeffs."""
        return self.head.predict_levels(list(levels))
