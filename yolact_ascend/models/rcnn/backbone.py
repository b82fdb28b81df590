"""ResNet with an FPN on top, with Detectron2's attribute names so that its weights load strictly.

Source: facebookresearch/detectron2 @ 02b5c4e2, modeling/backbone/resnet.py and fpn.py (He et al. 2015; Lin et al. 2016,
"Feature Pyramid Networks").
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from yolact_ascend.models.rcnn.cuts import rcnn_of
from yolact_ascend.models.values import DETECTRON1, ModelConfig, Rcnn

STAGES = ("res2", "res3", "res4", "res5")


class BatchNorm(nn.BatchNorm2d):
    """A batch norm whose state has no counter, as that of Detectron2's FrozenBatchNorm2d.

    Detectron's has scales and shifts only, so that nothing is added to the variance in its dialect.
    """

    def __init__(self, channels: int, dialect: str) -> None:
        super().__init__(channels, eps=0.0 if dialect == DETECTRON1 else 1e-5)
        self.num_batches_tracked = None

    def _load_from_state_dict(self, *arguments: Any, **named: Any) -> None:
        nn.Module._load_from_state_dict(self, *arguments, **named)  # BatchNorm2d's own adds a counter to old states


class NormedConv(nn.Conv2d):
    """A convolution and the batch norm behind it, which is its attribute `norm`."""

    def __init__(
        self, in_channels: int, out_channels: int, size: int, dialect: str, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(in_channels, out_channels, size, stride, padding=size // 2, groups=groups, bias=False)
        self.norm = BatchNorm(out_channels, dialect)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(super().forward(x))


class Stem(nn.Module):
    """The first convolution and pooling: images [B,3,H,W] -> [B,C,H/4,W/4]."""

    def __init__(self, channels: int, dialect: str) -> None:
        super().__init__()
        self.conv1 = NormedConv(3, channels, 7, dialect, stride=2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return functional.max_pool2d(functional.relu(self.conv1(images)), kernel_size=3, stride=2, padding=1)


class Bottleneck(nn.Module):
    """The 1×1, 3×3, 1×1 residual block."""

    def __init__(self, in_channels: int, inner_channels: int, out_channels: int, stride: int, rcnn: Rcnn) -> None:
        super().__init__()
        stride_1x1, stride_3x3 = (stride, 1) if rcnn.stride_in_1x1 else (1, stride)
        dialect = rcnn.dialect
        is_same = in_channels == out_channels
        self.shortcut = None if is_same else NormedConv(in_channels, out_channels, 1, dialect, stride)
        self.conv1 = NormedConv(in_channels, inner_channels, 1, dialect, stride_1x1)
        self.conv2 = NormedConv(inner_channels, inner_channels, 3, dialect, stride_3x3, rcnn.groups)
        self.conv3 = NormedConv(inner_channels, out_channels, 1, dialect)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = functional.relu(self.conv1(x))
        out = self.conv3(functional.relu(self.conv2(out)))
        return functional.relu(out + (x if self.shortcut is None else self.shortcut(x)))


class Basic(nn.Module):
    """The residual block of two 3×3 convolutions, of ResNet-18 and -34."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, dialect: str) -> None:
        super().__init__()
        is_same = in_channels == out_channels
        self.shortcut = None if is_same else NormedConv(in_channels, out_channels, 1, dialect, stride)
        self.conv1 = NormedConv(in_channels, out_channels, 3, dialect, stride)
        self.conv2 = NormedConv(out_channels, out_channels, 3, dialect)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.conv2(functional.relu(self.conv1(x)))
        return functional.relu(out + (x if self.shortcut is None else self.shortcut(x)))


def make_block(config: ModelConfig, stage: int, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Return a block of stage 0..3 (res2..res5)."""
    rcnn = rcnn_of(config)
    if config.backbone.block == "basic":
        return Basic(in_channels, out_channels, stride, rcnn.dialect)
    return Bottleneck(in_channels, rcnn.bottleneck_channels << stage, out_channels, stride, rcnn)


class ResNet(nn.Module):
    """Images [B,3,H,W] -> the outputs of res2..res5 at strides 4, 8, 16, 32; `channels` has their channels."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.stem = Stem(config.backbone.stem_channels, rcnn_of(config).dialect)
        self.channels: list[int] = []
        channels = config.backbone.stem_channels
        for i, (stage, blocks) in enumerate(zip(STAGES, config.backbone.stages)):
            out = rcnn_of(config).res2_channels << i
            first_stride = 1 if i == 0 else 2
            inputs, strides = [channels, *[out] * (blocks - 1)], [first_stride, *[1] * (blocks - 1)]
            self.add_module(
                stage,
                nn.Sequential(*(make_block(config, i, each, out, stride) for each, stride in zip(inputs, strides))),
            )
            channels = out
            self.channels.append(channels)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        x, outputs = self.stem(images), []
        for stage in STAGES:
            x = self.get_submodule(stage)(x)
            outputs.append(x)
        return outputs


class FPN(nn.Module):
    """The backbone: images [B,3,H,W] -> P2..P6, each [B,C,h,w], H and W multiples of 32."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.bottom_up = ResNet(config)
        for level, channels in enumerate(self.bottom_up.channels, start=2):
            self.add_module(f"fpn_lateral{level}", nn.Conv2d(channels, config.fpn_channels, 1))
            self.add_module(f"fpn_output{level}", nn.Conv2d(config.fpn_channels, config.fpn_channels, 3, padding=1))

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        stages = self.bottom_up(images)
        merged = self.get_submodule("fpn_lateral5")(stages[3])
        levels = [self.get_submodule("fpn_output5")(merged)]
        for level in (4, 3, 2):
            finer = functional.interpolate(merged, scale_factor=2.0, mode="nearest")
            merged = self.get_submodule(f"fpn_lateral{level}")(stages[level - 2]) + finer
            levels.insert(0, self.get_submodule(f"fpn_output{level}")(merged))
        return [*levels, functional.max_pool2d(levels[-1], kernel_size=1, stride=2)]
