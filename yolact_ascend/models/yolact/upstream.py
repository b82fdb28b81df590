"""The second source of the network: a patched checkout of upstream, for users with their own fork."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from torch import nn

from yolact_ascend.errors import ToolError
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.yolact.network import HeadTensors, join_levels
from yolact_ascend.process import capture


class UpstreamNetwork(nn.Module):
    """Gives upstream's patched network our outputs: five FPN levels and the prototypes, as one flat tuple."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @property
    def head(self) -> UpstreamHead:
        """What upstream runs on the levels."""
        return UpstreamHead(cast(nn.ModuleList, self.network.prediction_layers))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Map normalised RGB images [B,3,550,550] to P3..P7 [B,256,h,w] and prototypes [B,138,138,32]."""
        levels, protos = self.network(images)
        return (*levels, protos)


class UpstreamHead:
    """Gives upstream's prediction layers, one for each level, the outputs of our head."""

    def __init__(self, layers: nn.ModuleList) -> None:
        self._layers = layers

    def predict_levels(self, levels: list[torch.Tensor]) -> HeadTensors:
        """Run each layer on its level of P3..P7 and join the anchors in that order."""
        outputs = [layer(level) for layer, level in zip(self._layers, levels)]
        kinds = ("loc", "conf", "mask")
        return join_levels([HeadTensors(*(_with_known_anchors(values[kind]) for kind in kinds)) for values in outputs])


def _with_known_anchors(output: torch.Tensor) -> torch.Tensor:
    """Return an output [B,A,V] as it is; exported, A is a constant, which upstream's own reshape leaves open."""
    return output.reshape(-1, int(output.shape[1]), int(output.shape[2]))


def load_upstream_network(
    checkout: Path, state: Mapping[str, torch.Tensor], config: ModelConfig, training_only: tuple[str, ...]
) -> UpstreamNetwork:
    """Build `config` from the code in an upstream checkout, with these weights, ready for inference.

    Imports `yolact_edge` from the checkout into this process; keys that begin with one of `training_only` need no
    weights. Raises ToolError when the checkout is missing, not patched, or has another architecture.
    """
    network = _import_network(checkout, config)
    result = network.load_state_dict(state, strict=False)
    missing = [key for key in result.missing_keys if not key.startswith(training_only)]
    if missing or result.unexpected_keys:
        raise ToolError(
            f"The network in {checkout} is not upstream's {config.name}: its keys differ "
            f"({', '.join([*missing, *result.unexpected_keys][:4])}). Does the fork change the architecture?"
        )
    return UpstreamNetwork(network).eval()


def describe_upstream(folder: Path) -> str:
    """Return which upstream a checkout is, for the ONNX metadata and the report."""
    commit = capture(["git", "-C", str(folder), "rev-parse", "HEAD"]).stdout.strip()
    changed = capture(["git", "-C", str(folder), "diff", "--name-only", "HEAD"]).stdout.split()
    return f"upstream yolact_edge @ {commit or 'unknown commit'}, {len(changed)} files changed"


def _import_network(folder: Path, config: ModelConfig) -> nn.Module:
    if not (folder / "yolact_edge" / "yolact.py").is_file():
        raise ToolError(f"{folder} is not a checkout of yolact_edge. Make one: bash scripts/apply_patch.sh {folder}")
    sys.path.insert(0, str(folder.resolve()))
    try:
        upstream_config = importlib.import_module("yolact_edge.data")
        upstream_config.set_cfg(config.name)
        upstream_config.cfg.num_classes = config.num_classes + 1  # weights of other classes; with the background
        network = importlib.import_module("yolact_edge.yolact").Yolact(training=False)
    except Exception as error:  # upstream unpatched fails in many ways: CUDA at import, torchvision, Cython, numpy
        raise ToolError(
            f"{folder} cannot be imported: {type(error).__name__}: {error}. "
            f"Was it patched, and are Cython and a C compiler there? bash scripts/apply_patch.sh {folder}"
        ) from error
    finally:
        sys.path.remove(str(folder.resolve()))
    if not hasattr(network, "postprocess"):
        raise ToolError(f"{folder} is not patched. Patch it: bash scripts/apply_patch.sh {folder}")
    return network
