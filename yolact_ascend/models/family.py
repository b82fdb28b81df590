"""What a model family supplies: build, read weights, cuts with their tensors, detect. All else is shared."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from yolact_ascend.detection.output_names import BOXES, CLASSES, COUNT, SCORES
from yolact_ascend.detection.thresholds import DetectionSettings
from yolact_ascend.models.values import ModelConfig
from yolact_ascend.tensors import TensorSpec
from yolact_ascend.timings import Timings

if TYPE_CHECKING:  # most of what imports this does without
    import numpy as np
    import onnx
    import torch
    from torch import nn

    from yolact_ascend.detection.detections import Detections


class Detector(Protocol):
    """The host's part behind a cut: from the outputs of one image to its detections. Goes to other processes whole."""

    @property
    def config(self) -> ModelConfig: ...

    @property
    def settings(self) -> DetectionSettings: ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The tensors of one image that it takes, which are the model's outputs."""

    def detect(
        self, outputs: Sequence[np.ndarray], height: int, width: int, source: str, remedy: str, timings: Timings
    ) -> Detections:
        """Detect the instances in one image's outputs, at its size in pixels; counts the image in `timings`.

        Raises ArtifactError when values are not finite; `source` names where the outputs are from, `remedy` what to do.
        """


T = TypeVar("T")
DETECTIONS = "detections"  # the cut of every family whose graph ends in detections
ONNX = "onnx"  # of a graph's operators: ONNX's own
# The domain of other operators while PyTorch and onnxsim have the graph, which know none of theirs among ONNX's.
OPERATORS_DOMAIN = "ascend"


def detection_outputs(rows: int) -> tuple[TensorSpec, ...]:
    """Return the outputs of the cut `detections` that every family has first; N = rows, `count` of which are real."""
    return (
        TensorSpec(BOXES, (rows, 4)),
        TensorSpec(SCORES, (rows,)),
        TensorSpec(CLASSES, (rows,), "int32"),
        TensorSpec(COUNT, (1,), "int32"),
    )


@dataclass(frozen=True)
class StateKeys:
    """How a family's weights files name their tensors, where that differs from its network."""

    renamed_prefixes: Mapping[str, str] = field(default_factory=dict)  # in files -> in the network
    training_only_prefixes: tuple[str, ...] = ()  # in files, and not in the network
    surplus_patterns: tuple[str, ...] = ()  # regular expressions of names that older files have, and no network uses
    class_layer_prefix: str = ""  # the layer whose shape depends on the number of classes
    rename: Callable[[str], str] | None = None  # from any other name in files to that in the network


def to_network_names(entries: Mapping[str, T], keys: StateKeys) -> dict[str, T]:
    """Return a file's entries by the network's names, without those that only training uses."""

    def renamed(key: str) -> str:
        for old, new in keys.renamed_prefixes.items():
            if key.startswith(old):
                return new + key[len(old) :]
        return key if keys.rename is None else keys.rename(key)

    found = {renamed(key): value for key, value in entries.items()}
    return {key: value for key, value in found.items() if not key.startswith(keys.training_only_prefixes)}


class HostNetwork(NamedTuple):
    """The part of a network that runs on the host behind a cut, one image at a time."""

    network: nn.Module
    inputs: tuple[TensorSpec, ...]  # of those that the device gives
    outputs: tuple[TensorSpec, ...]


class Prunable(NamedTuple):
    """A network as it is traced to find the channels that can only be pruned together."""

    network: nn.Module  # with all layers
    inputs: tuple[torch.Tensor, ...]  # small ones
    fixed: tuple[nn.Module, ...]  # layers whose output channels have a meaning each


class Family(Protocol):
    """One family of networks. Its module imports PyTorch only inside the functions that need a network."""

    name: str
    cuts: tuple[str, ...]  # where the graph on the device may end; the first is the default
    keys: StateKeys
    opset: int  # of the ONNX that export writes
    batch_sizes: tuple[int, ...] | None  # that its graphs take; None: any
    operators: tuple[str, ...]  # kinds of operators that its graphs may have; the first, ONNX's, is the default

    def outputs(self, config: ModelConfig, cut: str) -> tuple[TensorSpec, ...]:
        """Return the tensors of one image at a cut, in the model's order."""

    def outputs_per_class(self, config: ModelConfig) -> int:
        """Return how many outputs the class layer has for each class; the background is one more class."""

    def build(self, config: ModelConfig) -> nn.Module:
        """Return the network with PyTorch's initial weights; its state dict has upstream's keys."""

    def prunable(self, network: nn.Module) -> Prunable | None:
        """Return the network as it is traced to prune channels; None for a family whose networks are not pruned."""

    def complete_weights(
        self, weights: dict[str, torch.Tensor], raw: Collection[str], expected: Container[str]
    ) -> dict[str, torch.Tensor]:
        """Return weights by the network's names with what their file leaves out; `raw` are the names in the file."""

    def explain_foreign(self, shapes: Mapping[str, tuple[int, ...]]) -> str:
        """Return the sentence on weights that look like a relative of the family; "" for any others."""

    def imagenet_keys(self, config: ModelConfig) -> StateKeys:
        """Return how weights of the backbone alone, trained on ImageNet, name their tensors."""

    def load_upstream(self, checkout: Path, state: Mapping[str, torch.Tensor], config: ModelConfig) -> nn.Module:
        """Return the network of a patched upstream checkout with these weights, in place of `build`'s."""

    def describe_upstream(self, checkout: Path) -> str:
        """Return which upstream a checkout is, for the ONNX metadata and the report."""

    def sample_inputs(self, config: ModelConfig, generator: np.random.Generator, batch: int) -> list[np.ndarray]:
        """Return random inputs, float32 [batch,...] each, on which an export is compared with PyTorch."""

    def at_cut(self, network: nn.Module, config: ModelConfig, cut: str) -> nn.Module:
        """Return the network that ends at a cut: images [B,3,H,W] -> the tensors of `outputs`."""

    def run_layers(self, network: nn.Module, config: ModelConfig, cut: str) -> None:
        """Run each layer up to a cut on tensors of its static shapes, of one image, on PyTorch's device "meta"."""

    def with_operators(self, network: nn.Module, operators: str) -> nn.Module:
        """Return a network of `at_cut` for the export of a graph with other operators than ONNX's."""

    def float32_operators(self, graph: onnx.GraphProto) -> list[str]:
        """Return the names of a graph's operators that half precision would harm; none: all may have it."""

    def has_host_part(self, cut: str) -> bool:
        """Tell whether a part of the network runs on the host behind a cut, so that weights are needed there."""

    def host_part(self, network: nn.Module, config: ModelConfig, cut: str) -> HostNetwork:
        """Return the part of the network that runs on the host behind a cut."""

    def make_detector(
        self, config: ModelConfig, cut: str, host_part: bytes | None, settings: DetectionSettings, threads: int
    ) -> Detector:
        """Return the host's part behind a cut."""
