"""YOLACT and YolactEdge for images: backbone, FPN, prototype net, shared prediction head.

Attribute names are upstream's state-dict keys. Source: haotian-liu/yolact_edge @ a9a0028, yolact_edge/yolact.py,
whose image network is that of dbolya/yolact @ 57b8f2d, yolact.py; Bolya et al., "YOLACT" (2019), sections 3 and 4.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, cast

import torch
from torch import nn
from torch.nn import functional

from yolact_ascend.detection.boxes import CENTRE_VARIANCE, SIZE_VARIANCE
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.yolact.anchors import make_anchors
from yolact_ascend.models.yolact.backbones import make_backbone
from yolact_ascend.models.yolact.cuts import image_size_px

SMALL_PX = 64  # of an image on which only the structure counts
FPN_DOWNSAMPLES = 2  # P6 and P7 come from P5 by strided convolutions


def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """Return a 3×3 convolution that keeps the size, or halves it with stride 2."""
    return nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1)


class FpnTopDown(nn.Module):
    """Lateral 1×1 convolutions and the top-down pathway; upstream calls it phase 1."""

    def __init__(self, in_channels: list[int], out_channels: int) -> None:
        super().__init__()
        # The state dict holds the deepest level first.
        self.lat_layers = nn.ModuleList(nn.Conv2d(channels, out_channels, 1) for channels in reversed(in_channels))

    def forward(self, stages: list[torch.Tensor]) -> list[torch.Tensor]:
        """Merge stage outputs (finest first) into levels [B,C,h,w], finest first."""
        levels: list[torch.Tensor] = []
        for lateral, stage in zip(self.lat_layers, reversed(stages)):
            level = lateral(stage)
            if levels:
                # Constant sizes: the exporter then writes no Shape arithmetic on height and width.
                height, width = (int(n) for n in stage.shape[2:])
                upper = functional.interpolate(levels[0], (height, width), mode="bilinear", align_corners=False)
                level = upper + level
            levels.insert(0, level)
        return levels


class FpnPrediction(nn.Module):
    """3×3 convolutions on P3..P5, and P6, P7 by strided convolutions; upstream calls it phase 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pred_layers = nn.ModuleList(conv3x3(channels, channels) for _ in range(3))
        self.downsample_layers = nn.ModuleList(conv3x3(channels, channels, stride=2) for _ in range(FPN_DOWNSAMPLES))

    def forward(self, levels: list[torch.Tensor]) -> list[torch.Tensor]:
        """Map P3..P5 to the five levels P3..P7, each [B,C,h,w]."""
        # Stored deepest first, like the lateral layers.
        outputs = [functional.relu(layer(level)) for layer, level in zip(reversed(self.pred_layers), levels)]
        for downsample in self.downsample_layers:
            outputs.append(downsample(outputs[-1]))
        return outputs


def make_proto_net(channels: int, prototypes: int) -> nn.Sequential:
    """Three 3×3 convolutions, twofold upsampling, one more, then 1×1 to the prototypes: [B,C,h,w] -> [B,M,2h,2w]."""
    return nn.Sequential(
        conv3x3(channels, channels),
        nn.ReLU(inplace=True),
        conv3x3(channels, channels),
        nn.ReLU(inplace=True),
        conv3x3(channels, channels),
        nn.ReLU(inplace=True),
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
        nn.ReLU(inplace=True),
        conv3x3(channels, channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, prototypes, 1),
    )


class HeadTensors(NamedTuple):
    """The prediction head's outputs for each anchor: loc [B,A,4], conf logits [B,A,K+1], coeffs [B,A,M]."""

    loc: torch.Tensor
    conf: torch.Tensor
    coeffs: torch.Tensor


class PredictionHead(nn.Module):
    """One head for all levels: box offsets, class logits (class 0: background) and mask coefficients (tanh)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        channels, per_cell = config.fpn_channels, config.anchors.per_cell
        self.anchors_per_cell = per_cell
        self.upfeature = nn.Sequential(conv3x3(channels, channels), nn.ReLU(inplace=True))
        self.bbox_layer = conv3x3(channels, per_cell * 4)
        self.conf_layer = conv3x3(channels, per_cell * (config.num_classes + 1))
        self.mask_layer = conv3x3(channels, per_cell * config.proto_channels)

    def forward(self, level: torch.Tensor) -> HeadTensors:
        """Map one level [B,C,h,w] to its h·w·3 anchors, by row, column, aspect ratio."""

        # Constant sizes: an exported head then reshapes by a constant, with the batch left free.
        cells = int(level.shape[2]) * int(level.shape[3])

        def anchors_last(layer: nn.Conv2d) -> torch.Tensor:
            x = layer(features).permute(0, 2, 3, 1)  # [B,h,w,3·values]
            return x.reshape(-1, cells * self.anchors_per_cell, layer.out_channels // self.anchors_per_cell)

        features = self.upfeature(level)
        return HeadTensors(
            loc=anchors_last(self.bbox_layer),
            conf=anchors_last(self.conf_layer),
            coeffs=torch.tanh(anchors_last(self.mask_layer)),
        )

    def predict_levels(self, levels: list[torch.Tensor]) -> HeadTensors:
        """Run the head on P3..P7 and join the anchors in that order."""
        return join_levels([self(level) for level in levels])


def join_levels(outputs: list[HeadTensors]) -> HeadTensors:
    """Join the anchors of the levels P3..P7."""
    return HeadTensors(*(torch.cat(parts, dim=1) for parts in zip(*outputs)))


class YolactEdge(nn.Module):
    """The network up to FPN levels and prototypes (`forward`), and its `head`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.fpn_sources = config.fpn_sources
        self.backbone = make_backbone(config.backbone)
        in_channels = [self.backbone.channels[i] for i in config.fpn_sources]
        self.fpn_phase_1 = FpnTopDown(in_channels, config.fpn_channels)
        self.fpn_phase_2 = FpnPrediction(config.fpn_channels)
        self.proto_net = make_proto_net(config.fpn_channels, config.proto_channels)
        self.prediction_layers = nn.ModuleList([PredictionHead(config)])

    @property
    def head(self) -> PredictionHead:
        """The prediction head, which all levels share."""
        return cast(PredictionHead, self.prediction_layers[0])

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Map normalised RGB images [B,3,550,550] to P3..P7 [B,C,h,w] and prototypes [B,138,138,M].

        C and M are the config's `fpn_channels` and `proto_channels`; other sizes of image give other h and w.
        """
        return self.from_stages(self.backbone(images))

    def from_stages(self, stages: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Map the backbone's stage outputs to levels and prototypes."""
        levels = self.fpn_phase_2(self.fpn_phase_1([stages[i] for i in self.fpn_sources]))
        protos = functional.relu(self.proto_net(levels[0])).permute(0, 2, 3, 1)
        return (*levels, protos.contiguous())


class HasHead(Protocol):
    """`YolactEdge`, or upstream's network in its place."""

    @property
    def head(self) -> Any:
        """What has `predict_levels`."""

    def __call__(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Map images to levels and prototypes."""


class WithHeads(nn.Module):
    """A network and its prediction head in one, for the cut behind the heads."""

    def __init__(self, network: HasHead) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Map images [B,3,550,550] to loc [B,A,4], conf logits [B,A,K+1], coeffs [B,A,M], prototypes [B,138,138,M]."""
        *levels, protos = self.network(images)
        return (*self.network.head.predict_levels(levels), protos)


class WithBoxes(nn.Module):
    """A network, its head, softmax and decoding of boxes, for the cut whose outputs other programs take as they are."""

    def __init__(self, network: HasHead, config: ModelConfig) -> None:
        super().__init__()
        self.with_heads = WithHeads(network)
        self.anchors = torch.from_numpy(make_anchors(config.anchors, image_size_px(config)).copy())

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Map images [B,3,550,550] to conf [B,A,K+1], boxes [B,A,4] xyxy_rel, coefficients [B,A,M], prototypes."""
        loc, conf, coeffs, protos = self.with_heads(images)
        return torch.softmax(conf, -1), decode_on_device(loc, self.anchors.to(loc.device)), coeffs, protos


class WithHalfProtos(nn.Module):
    """A network at any cut, whose last output, the prototypes, leaves it as float16."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Map images [B,3,550,550] to the network's outputs."""
        *others, protos = self.network(images)
        return (*others, protos.half())


def decode_on_device(loc: torch.Tensor, anchors: torch.Tensor, most_log_size: float | None = None) -> torch.Tensor:
    """Turn offsets [B,A,4] from anchors [A,4] or [B,A,4] into boxes_xyxy_rel [B,A,4]: `decode_boxes` in a graph.

    As OpenVINO's guide to converting YOLACT has it, which names no limit for sizes.
    """
    centres = anchors[..., :2] + loc[:, :, :2] * CENTRE_VARIANCE * anchors[..., 2:]
    log_sizes = loc[:, :, 2:] * SIZE_VARIANCE
    if most_log_size is not None:
        log_sizes = torch.clamp(log_sizes, max=most_log_size)
    sizes = anchors[..., 2:] * torch.exp(log_sizes)
    top_left = centres - sizes / 2
    return torch.cat([top_left, sizes + top_left], dim=2)


def run_layers(network: nn.Module, config: ModelConfig) -> None:
    """Run each layer of a network at a cut once, on one image of PyTorch's device "meta"."""
    size = image_size_px(config)
    network(torch.empty(1, 3, size, size, device="meta"))


class WithStages(nn.Module):
    """A network and its head whose outputs depend on each layer, also on stages that the FPN does not read."""

    def __init__(self, network: YolactEdge) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Map images to the backbone's stage outputs, loc, conf logits, coeffs and prototypes."""
        stages = self.network.backbone(images)
        *levels, protos = self.network.from_stages(stages)
        return (*stages, *self.network.head.predict_levels(levels), protos)


def small_image() -> torch.Tensor:
    """Return an image [1,3,S,S] to learn a network's structure from, on the CPU."""
    return torch.zeros(1, 3, SMALL_PX, SMALL_PX, device="cpu")


def run_small(network: nn.Module) -> None:
    """Run each layer of a network and its head on the CPU, on a small image."""
    WithStages(cast(YolactEdge, network))(small_image())
