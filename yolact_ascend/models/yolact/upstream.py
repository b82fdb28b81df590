"""The second source of the network: a patched checkout of upstream, for users with their own fork."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import cast

import torch
from torch import nn

from yolact_ascend.errors import ToolError
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.family import StateKeys
from yolact_ascend.models.upstreams import Upstream, find_upstream, require_checkout
from yolact_ascend.models.yolact.network import HeadTensors, join_levels
from yolact_ascend.process import capture


class UpstreamNetwork(nn.Module):
    """Gives upstream's patched network our outputs: five FPN levels and the prototypes, as one flat tuple."""

    def __init__(self, network: nn.Module, cut: str) -> None:
        super().__init__()
        self.network = network
        self._cut = cut  # the method that ends at the FPN

    @property
    def head(self) -> UpstreamHead:
        """What upstream runs on the levels."""
        return UpstreamHead(cast(nn.ModuleList, self.network.prediction_layers))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Map normalised RGB images [B,3,550,550] to P3..P7 [B,256,h,w] and prototypes [B,138,138,32]."""
        levels, protos = getattr(self.network, self._cut)(images)
        return (*levels, protos)


class UpstreamHead(nn.Module):
    """Gives upstream's prediction layers, one for each level, the outputs of our head.

    A module, so that an export of it alone knows their weights.
    """

    def __init__(self, layers: nn.ModuleList) -> None:
        super().__init__()
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
    checkout: Path, state: Mapping[str, torch.Tensor], config: ModelConfig, keys: StateKeys
) -> UpstreamNetwork:
    """Build `config` from the code in an upstream checkout, with these weights, ready for inference.

    Imports the checkout's code into this process; `keys` tell how it names tensors, and which need no weights. Raises
    ToolError when the checkout is missing, of another project, not patched, or has another architecture.
    """
    upstream = require_checkout(checkout, config)
    network = _import_network(checkout, config, upstream)
    result = network.load_state_dict(_in_names_of(network, state, keys), strict=False)
    missing = [key for key in result.missing_keys if not key.startswith(keys.training_only_prefixes)]
    if missing or result.unexpected_keys:
        raise ToolError(
            f"The network in {checkout} is not upstream's {config.name}: its keys differ "
            f"({', '.join([*missing, *result.unexpected_keys][:4])}). Does the fork change the architecture?"
        )
    return UpstreamNetwork(network, upstream.cut).eval()


def describe_upstream(folder: Path) -> str:
    """Return which upstream a checkout is, for the ONNX metadata and the report."""
    upstream = find_upstream(folder)
    commit = capture(["git", "-C", str(folder), "rev-parse", "HEAD"]).stdout.strip()
    changed = capture(["git", "-C", str(folder), "diff", "--name-only", "HEAD"]).stdout.split()
    name = upstream.name if upstream else "of unknown name"
    return f"upstream {name} @ {commit or 'unknown commit'}, {len(changed)} files changed"


def _import_network(folder: Path, config: ModelConfig, upstream: Upstream) -> nn.Module:
    try:
        with _checkout_first(folder, upstream):
            upstream_config = importlib.import_module(upstream.config_module)
            upstream_config.set_cfg(config.name)
            upstream_config.cfg.num_classes = config.num_classes + 1  # weights of other classes; with the background
            network = importlib.import_module(upstream.network_module).Yolact(**dict(upstream.options))
    except Exception as error:  # upstream unpatched fails in many ways: CUDA at import, torchvision, Cython, numpy
        raise ToolError(
            f"{folder} cannot be imported: {type(error).__name__}: {error}. "
            f"Was it patched ({upstream.patch_command(folder)}), and does this Python have {upstream.needs}?"
        ) from error
    if not hasattr(network, upstream.rest):
        raise ToolError(f"{folder} is not patched. Patch it: {upstream.patch_command(folder)}")
    return network


@contextmanager
def _checkout_first(folder: Path, upstream: Upstream) -> Iterator[None]:
    """Import the project's modules from its checkout, and leave no trace of them.

    YOLACT's are called `data`, `utils`, `layers`: a module of that name that this process has imported steps aside
    meanwhile, and a folder of that name elsewhere on the path is not looked at.
    """
    hidden = _take_modules(upstream.sources)
    sys.path.insert(0, str(folder.resolve()))
    try:
        yield
    finally:
        sys.path.remove(str(folder.resolve()))
        _take_modules(upstream.sources)
        sys.modules.update(hidden)


def _take_modules(names: tuple[str, ...]) -> dict[str, ModuleType]:
    """Remove modules and packages of these names, with what is in them, from the imported ones and return them."""
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in names}


def _in_names_of(network: nn.Module, state: Mapping[str, torch.Tensor], keys: StateKeys) -> dict[str, torch.Tensor]:
    """Return a state of our network in the names of this one, which may be those that `keys` rename for ours."""
    own = network.state_dict()
    names = {}
    for key in state:
        olds = (old + key[len(new) :] for old, new in keys.renamed_prefixes.items() if key.startswith(new))
        names[key] = next((old for old in olds if old in own), key)
    return {names[key]: value for key, value in state.items()}
