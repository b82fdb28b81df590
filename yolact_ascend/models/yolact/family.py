"""The YOLACT family: image network, heads, cuts and detection, as the interface `models.family` asks for them."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from yolact_ascend.detection.thresholds import DetectionSettings
from yolact_ascend.extras import require_module
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.family import DETECTIONS, ONNX, Detector, Family, HostNetwork, Prunable, StateKeys
from yolact_ascend.models.yolact.cuts import BOXES, CANDIDATES, CUTS, FPN, HEADS, cut_outputs
from yolact_ascend.tensors import TensorSpec

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import torch
    from torch import nn

    from yolact_ascend.models.yolact.network import HasHead

KEYS = StateKeys(
    # YOLACT's one-piece FPN against YolactEdge's two phases; upstream converts such files, too.
    renamed_prefixes={
        "fpn.lat_layers.": "fpn_phase_1.lat_layers.",
        "fpn.pred_layers.": "fpn_phase_2.pred_layers.",
        "fpn.downsample_layers.": "fpn_phase_2.downsample_layers.",
    },
    # The 1×1 convolution of the semantic-segmentation loss: upstream trains with it and never runs it afterwards.
    training_only_prefixes=("semantic_seg_conv.",),
    # YOLACT's first release kept the backbone's layers twice, and one more level than YOLACT and YolactEdge use.
    surplus_patterns=(r"backbone\.layer(?!s)", r"fpn_phase_2\.downsample_layers\.\d+\."),
    class_layer_prefix="prediction_layers.0.conf_layer.",
)


class YolactFamily(Family):
    """YOLACT and YolactEdge for single images."""

    name = "yolact"
    cuts = CUTS
    keys = KEYS
    opset = 11  # inside the documented range of every CANN
    batch_sizes = None
    operators = (ONNX,)

    def outputs(self, config: ModelConfig, cut: str) -> tuple[TensorSpec, ...]:
        return cut_outputs(config, cut)

    def outputs_per_class(self, config: ModelConfig) -> int:
        return config.anchors.per_cell

    def build(self, config: ModelConfig) -> nn.Module:
        from yolact_ascend.models.widths import apply_widths
        from yolact_ascend.models.yolact.network import YolactEdge, run_small

        network = YolactEdge(config)
        apply_widths(network, config, run_small)
        return network

    def prunable(self, network: nn.Module) -> Prunable | None:
        from yolact_ascend.models.yolact.network import WithStages, YolactEdge, small_image

        assert isinstance(network, YolactEdge)
        head = network.head
        fixed = (head.bbox_layer, head.conf_layer, head.mask_layer, network.proto_net[-1])
        return Prunable(WithStages(network), (small_image(),), fixed)

    def complete_weights(
        self, weights: dict[str, torch.Tensor], raw: Collection[str], expected: Container[str]
    ) -> dict[str, torch.Tensor]:
        return weights

    def explain_foreign(self, shapes: Mapping[str, tuple[int, ...]]) -> str:
        return ""

    def imagenet_keys(self, config: ModelConfig) -> StateKeys:
        from yolact_ascend.models.yolact.backbones import imagenet_prefixes

        # Upstream loads DarkNet's file by its own names, and takes no notice of what else the file holds.
        surplus = (".",) if config.backbone.kind == "darknet" else ()
        return StateKeys(imagenet_prefixes(config.backbone), ("fc.", "classifier."), surplus)

    def load_upstream(self, checkout: Path, state: Mapping[str, torch.Tensor], config: ModelConfig) -> nn.Module:
        from yolact_ascend.models.yolact.upstream import load_upstream_network

        return load_upstream_network(checkout, state, config, KEYS)

    def describe_upstream(self, checkout: Path) -> str:
        from yolact_ascend.models.yolact.upstream import describe_upstream

        return describe_upstream(checkout)

    def sample_inputs(self, config: ModelConfig, generator: np.random.Generator, batch: int) -> list[np.ndarray]:
        size = config.preprocessing
        return [generator.standard_normal((batch, 3, size.height_px, size.width_px), dtype="float32")]

    def at_cut(self, network: nn.Module, config: ModelConfig, cut: str) -> nn.Module:
        from yolact_ascend.models.yolact.network import WithBoxes, WithHalfProtos, WithHeads
        from yolact_ascend.models.yolact.select import WithCandidates, WithDetections

        whole = cast("HasHead", network)
        kinds = {BOXES: WithBoxes, CANDIDATES: WithCandidates, DETECTIONS: WithDetections}
        ended: nn.Module = network
        if cut == HEADS:
            ended = WithHeads(whole)
        elif cut in kinds:
            ended = kinds[cut](whole, config)
        return ended.eval() if config.proto_dtype == "float32" else WithHalfProtos(ended).eval()

    def run_layers(self, network: nn.Module, config: ModelConfig, cut: str) -> None:
        from yolact_ascend.models.yolact.network import run_layers

        run_layers(self.at_cut(network, config, cut), config)

    def with_operators(self, network: nn.Module, operators: str) -> nn.Module:
        return network

    def float32_operators(self, graph: onnx.GraphProto) -> list[str]:
        from yolact_ascend.models.yolact.chosen_operators import choosing_operators

        return choosing_operators(graph)

    def has_host_part(self, cut: str) -> bool:
        return cut == FPN

    def host_part(self, network: nn.Module, config: ModelConfig, cut: str) -> HostNetwork:
        from yolact_ascend.models.yolact.head_export import OnLevels

        *levels, _ = cut_outputs(config, FPN)
        *outputs, _ = cut_outputs(config, HEADS)
        return HostNetwork(OnLevels(cast("HasHead", network)).eval(), tuple(levels), tuple(outputs))

    def make_detector(
        self, config: ModelConfig, cut: str, host_part: bytes | None, settings: DetectionSettings, threads: int
    ) -> Detector:
        from yolact_ascend.models.yolact.detect import YolactDetector
        from yolact_ascend.models.yolact.heads import HostHeads

        if host_part is not None:
            require_module("onnxruntime")  # now, not when the first image comes
        heads = HostHeads(host_part, threads) if host_part is not None else None
        return YolactDetector(config, cut, heads, settings)
