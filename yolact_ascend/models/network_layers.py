"""The layers of a config's network, counted without weights and without computing anything."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from yolact_ascend.models.families import family_of
from yolact_ascend.models.layer import Layer
from yolact_ascend.models.values import ModelConfig

# Modules that multiply matrices, and what ONNX calls them.
OPERATORS: dict[type[nn.Module], str] = {
    nn.Conv2d: "Conv",
    nn.ConvTranspose2d: "ConvTranspose",
    nn.Linear: "Gemm",
}


def count_network(config: ModelConfig, cut: str) -> list[Layer]:
    """Return the layers of the network up to a cut, one for each call, in their order, for one image.

    Heads on regions count for as many regions as the exported graph has.
    """
    family = family_of(config)
    layers: list[Layer] = []
    seen: set[nn.Module] = set()
    with torch.device("meta"), torch.inference_mode():  # shapes alone: nothing is computed
        network = family.build(config).eval()
        for name, module in network.named_modules():
            operator = next((operator for kind, operator in OPERATORS.items() if isinstance(module, kind)), None)
            if operator is not None:
                module.register_forward_hook(_counter(name, operator, layers, seen))
        family.run_layers(network, config, cut)
    return layers


def whole_cut(config: ModelConfig) -> str:
    """Return the first cut behind which the host runs no part of the network."""
    family = family_of(config)
    return next(cut for cut in family.cuts if not family.has_host_part(cut))


def _counter(name: str, operator: str, layers: list[Layer], seen: set[nn.Module]) -> Any:
    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        is_spread = isinstance(module, nn.ConvTranspose2d)  # each input value, not each output value, meets the filter
        weight = module.get_parameter("weight")
        parameters = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        macs = (inputs[0] if is_spread else output).numel() * weight[0].numel()
        layers.append(Layer(name, operator, tuple(output.shape), parameters, module in seen, macs))
        seen.add(module)

    return count
