"""The R-CNN family: Faster and Mask R-CNN, as the interface `models.family` asks for them."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from yolact_ascend.detection.thresholds import DetectionSettings
from yolact_ascend.errors import UsageError
from yolact_ascend.models.family import Detector, Family, HostNetwork, Prunable, StateKeys
from yolact_ascend.models.rcnn.cuts import CUTS, OPERATORS, cut_outputs
from yolact_ascend.models.rcnn.foreign import explain_foreign
from yolact_ascend.models.rcnn.other_keys import SURPLUS, to_our_key, writer_of
from yolact_ascend.models.values import ModelConfig
from yolact_ascend.tensors import TensorSpec

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import torch
    from torch import nn

    from yolact_ascend.models.rcnn.network import RcnnNetwork

KEYS = StateKeys(
    # What Detectron2 computes from its config, and older versions saved; the counters of batch norms that are trained.
    surplus_patterns=(r"pixel_(mean|std)$", r"proposal_generator\.anchor_generator\.cell_anchors\.", *SURPLUS),
    class_layer_prefix="roi_heads.box_predictor.cls_score.",
    rename=to_our_key,
)
NO_UPSTREAM = "No upstream checkout is exported for {}: leave out upstream= (--upstream)."


class RcnnFamily(Family):
    """Faster and Mask R-CNN with an FPN."""

    name = "rcnn"
    cuts = CUTS
    keys = KEYS
    opset = 16  # the first whose RoiAlign has aligned pooling
    batch_sizes = (1,)  # the numbers of proposals and detections differ by image
    operators = OPERATORS

    def outputs(self, config: ModelConfig, cut: str) -> tuple[TensorSpec, ...]:
        return cut_outputs(config, cut)

    def outputs_per_class(self, config: ModelConfig) -> int:
        return 1

    def build(self, config: ModelConfig) -> nn.Module:
        from yolact_ascend.models.rcnn.network import RcnnNetwork

        return RcnnNetwork(config)

    def prunable(self, network: nn.Module) -> Prunable | None:
        return None

    def complete_weights(
        self, weights: dict[str, torch.Tensor], raw: Collection[str], expected: Container[str]
    ) -> dict[str, torch.Tensor]:
        from yolact_ascend.models.rcnn.other_weights import complete_norms

        writer = writer_of(raw)
        return weights if writer is None else complete_norms(weights, expected, writer)

    def explain_foreign(self, shapes: Mapping[str, tuple[int, ...]]) -> str:
        return explain_foreign(shapes)

    def imagenet_keys(self, config: ModelConfig) -> StateKeys:
        # Detectron2's files of ImageNet weights (detectron2://ImageNetPretrained/…) have the names of `bottom_up`.
        return StateKeys({"stem.": "bottom_up.stem.", "res": "bottom_up.res"}, ("stem.fc.", "fc1000"))

    def load_upstream(self, checkout: Path, state: Mapping[str, torch.Tensor], config: ModelConfig) -> nn.Module:
        raise UsageError(NO_UPSTREAM.format(config.name))

    def describe_upstream(self, checkout: Path) -> str:
        raise UsageError(NO_UPSTREAM.format("the rcnn family"))

    def sample_inputs(self, config: ModelConfig, generator: np.random.Generator, batch: int) -> list[np.ndarray]:
        from yolact_ascend.models.rcnn.samples import draw_inputs

        return draw_inputs(config.preprocessing, generator, batch)

    def at_cut(self, network: nn.Module, config: ModelConfig, cut: str) -> nn.Module:
        return network

    def run_layers(self, network: nn.Module, config: ModelConfig, cut: str) -> None:
        from yolact_ascend.models.rcnn.network import run_layers

        run_layers(cast("RcnnNetwork", network), config)

    def with_operators(self, network: nn.Module, operators: str) -> nn.Module:
        from yolact_ascend.models.rcnn.network import RcnnNetwork

        assert isinstance(network, RcnnNetwork)
        return network.with_operators(operators)

    def float32_operators(self, graph: onnx.GraphProto) -> list[str]:
        from yolact_ascend.models.rcnn.box_operators import box_operators

        return box_operators(graph)

    def has_host_part(self, cut: str) -> bool:
        return False

    def host_part(self, network: nn.Module, config: ModelConfig, cut: str) -> HostNetwork:
        raise ValueError(f"No part of {config.name} runs on the host behind the cut {cut}.")

    def make_detector(
        self, config: ModelConfig, cut: str, host_part: bytes | None, settings: DetectionSettings, threads: int
    ) -> Detector:
        from yolact_ascend.models.rcnn.detect import RcnnDetector

        return RcnnDetector(config, settings)
