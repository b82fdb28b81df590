"""The backbones, with upstream's attribute names so that its weights load strictly.

Each backbone maps images [B,3,H,W] to a list of stage outputs, finest first, and has `channels`, one a stage.
Source: haotian-liu/yolact_edge @ a9a0028, yolact_edge/backbone.py (ResNet: He et al. 2015; MobileNetV2: Sandler
et al. 2018); dbolya/yolact @ 57b8f2d, backbone.py (DarkNet-53: Redmon and Farhadi 2018, "YOLOv3").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Union

import torch
from torch import nn

from yolact_ascend.models.config import Backbone

RESNET_STAGE_CHANNELS = (64, 128, 256, 512)


class Bottleneck(nn.Module):
    """ResNet's 1×1, 3×3, 1×1 residual block; the stride sits on the 3×3."""

    expansion = 4  # channels out for each channel inside

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        out_channels = channels * self.expansion
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.Sequential()
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu(out + self.downsample(x))


class ResNet(nn.Module):
    """A ResNet without its classifier; stage outputs at strides 4, 8, 16, 32."""

    def __init__(self, block: type[Bottleneck], blocks: Sequence[int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layers = nn.ModuleList()
        self.channels: list[int] = []
        in_channels = 64
        for channels, count in zip(RESNET_STAGE_CHANNELS, blocks):
            stride = 1 if not self.layers else 2
            stage = []
            for position in range(count):
                stage.append(block(in_channels, channels, stride if position == 0 else 1))
                in_channels = channels * block.expansion
            self.layers.append(nn.Sequential(*stage))
            self.channels.append(in_channels)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        outputs = []
        for stage in self.layers:
            x = stage(x)
            outputs.append(x)
        return outputs


class ConvBNReLU6(nn.Sequential):
    """Convolution, batch norm, ReLU6: MobileNetV2's brick."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU6(inplace=True),
        )


class InvertedResidual(nn.Module):
    """MobileNetV2's block: expand 1×1, depthwise 3×3, project 1×1 without activation."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        expand = [ConvBNReLU6(in_channels, hidden, 1)] if expansion != 1 else []
        self.conv = nn.Sequential(
            *expand,
            ConvBNReLU6(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.is_residual = stride == 1 and in_channels == out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x) if self.is_residual else self.conv(x)


class MobileNetV2(nn.Module):
    """MobileNetV2 without its classifier; the stem and the last 1×1 convolution, if any, count as stages."""

    def __init__(self, stages: Sequence[tuple[int, int, int, int]], stem_channels: int, last_channels: int) -> None:
        super().__init__()
        in_channels = stem_channels
        self.layers = nn.ModuleList([ConvBNReLU6(3, in_channels, 3, stride=2)])
        self.channels = [in_channels]
        for expansion, channels, count, first_stride in stages:
            blocks = []
            for position in range(count):
                blocks.append(InvertedResidual(in_channels, channels, first_stride if position == 0 else 1, expansion))
                in_channels = channels
            self.layers.append(nn.Sequential(*blocks))
            self.channels.append(channels)
        if last_channels:
            self.layers.append(ConvBNReLU6(in_channels, last_channels, 1))
            self.channels.append(last_channels)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        outputs = []
        for stage in self.layers:
            x = stage(x)
            outputs.append(x)
        return outputs


LEAKY_SLOPE = 0.1  # of LeakyReLU, as in Darknet


class ConvBNLeaky(nn.Sequential):
    """Convolution that keeps the size or halves it, batch norm, LeakyReLU: DarkNet's brick."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel, stride, (kernel - 1) // 2, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.LeakyReLU(LEAKY_SLOPE, inplace=True),
        )


class DarkNetBlock(nn.Module):
    """DarkNet's residual block: 1×1 to half of the channels, 3×3 back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = ConvBNLeaky(channels, channels // 2, 1)
        self.conv2 = ConvBNLeaky(channels // 2, channels, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv2(self.conv1(x))


class DarkNet(nn.Module):
    """A DarkNet without its classifier; stage outputs at strides 2, 4, 8, 16, 32, each with twice the channels."""

    def __init__(self, blocks: Sequence[int], stem_channels: int) -> None:
        super().__init__()
        self._preconv = ConvBNLeaky(3, stem_channels, 3)
        self.layers = nn.ModuleList()
        self.channels: list[int] = []
        channels = stem_channels
        for count in blocks:
            halved = ConvBNLeaky(channels, 2 * channels, 3, stride=2)
            channels *= 2
            self.layers.append(nn.Sequential(halved, *(DarkNetBlock(channels) for _ in range(count))))
            self.channels.append(channels)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        x = self._preconv(x)
        outputs = []
        for stage in self.layers:
            x = stage(x)
            outputs.append(x)
        return outputs


AnyBackbone = Union[ResNet, MobileNetV2, DarkNet]
# (kind, block) -> how such a backbone is made
BACKBONES: dict[tuple[str, str], Callable[[Backbone], AnyBackbone]] = {
    ("resnet", "bottleneck"): lambda backbone: ResNet(Bottleneck, backbone.stages),
    ("mobilenetv2", "inverted_residual"): lambda backbone: MobileNetV2(
        backbone.stages, backbone.stem_channels, backbone.last_channels
    ),
    ("darknet", "darknet_block"): lambda backbone: DarkNet(backbone.stages, backbone.stem_channels),
}


def imagenet_prefixes(backbone: Backbone) -> dict[str, str]:
    """Return how a backbone's ImageNet files, which have torchvision's names, begin what begins otherwise here.

    DarkNet's file has the network's own names. Source: `init_backbone` in upstream's yolact_edge/backbone.py (for
    MobileNetV2 it goes by the order of the keys), and in dbolya/yolact's backbone.py.
    """
    if backbone.kind == "darknet":
        return {}
    if backbone.kind == "resnet":
        return {f"layer{stage + 1}.": f"layers.{stage}." for stage in range(len(backbone.stages))}
    counts = [count for _, _, count, _ in backbone.stages]
    blocks = [f"layers.{stage}.{block}." for stage, count in enumerate(counts, start=1) for block in range(count)]
    names = ["layers.0.", *blocks, *([f"layers.{len(counts) + 1}."] if backbone.last_channels else [])]
    return {f"features.{number}.": name for number, name in enumerate(names)}


def make_backbone(backbone: Backbone) -> AnyBackbone:
    """Return a backbone with PyTorch's initial weights; raises ValueError for a kind or block that is not known."""
    make = BACKBONES.get((backbone.kind, backbone.block))
    if make is None:
        known = ", ".join(f"{kind} of {block} blocks" for kind, block in BACKBONES)
        raise ValueError(f"Unknown backbone {backbone.kind} of {backbone.block} blocks, expected one of: {known}.")
    return make(backbone)
