"""Widths of a pruned network: what a config states of them, and a network of these widths.

A config lists the output channels of the layers that have others than its family gives them. What a layer takes in
follows from what it gets, so that no two statements can contradict each other.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

from yolact_ascend.errors import WeightsError
from yolact_ascend.models.values import ModelConfig

REMEDY = "Was the file made by another version, or edited? Prune again (prune), or copy the file again."


def apply_widths(network: nn.Module, config: ModelConfig, run: Callable[[nn.Module], object]) -> None:
    """Give the layers of a network the config's `widths`; those that change get PyTorch's initial weights.

    `run` runs each layer of a network on the CPU, once at least. Raises WeightsError for widths that the network cannot
    have.
    """
    if not config.widths:
        return
    widths, known = dict(config.widths), widths_of(network)
    unknown = [name for name in widths if name not in known]
    if unknown:
        raise WeightsError(
            f"{config.name} states a width of {unknown[0]}, expected a convolution of its network whose width is its "
            f"own. {REMEDY}"
        )
    probe, sized = copy.deepcopy(network).to_empty(device="cpu"), set[nn.Module]()
    for name, module in probe.named_modules():
        if isinstance(module, (nn.Conv2d, nn.BatchNorm2d)):
            module.register_forward_pre_hook(_follow(widths.get(name), sized))
    try:
        with torch.no_grad():
            run(probe)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise WeightsError(f"The widths that {config.name} states contradict each other: {reason}. {REMEDY}") from error
    for name, module in probe.named_modules():
        own = network.get_submodule(name)
        if isinstance(own, nn.Conv2d) and isinstance(module, nn.Conv2d):
            _resize_conv(own, module.in_channels, module.out_channels)
        elif isinstance(own, nn.BatchNorm2d) and isinstance(module, nn.BatchNorm2d):
            _resize_norm(own, module.num_features)


def widths_of(network: nn.Module) -> dict[str, int]:
    """Return the output channels of a network's convolutions by name, without those that are as wide as their input."""
    layers = {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}
    return {name: layer.out_channels for name, layer in layers.items() if not _is_depthwise(layer)}


def _is_depthwise(layer: nn.Conv2d) -> bool:
    """Whether each channel is filtered alone: such a layer is as wide as what it gets."""
    return layer.groups > 1 and layer.groups == layer.in_channels == layer.out_channels


def _follow(width: int | None, sized: set[nn.Module]) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
    """Return the hook that sizes a layer by its first input, and by the width that is stated of it, if one is."""

    def follow(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        channels = inputs[0].shape[1]
        if module in sized:  # it is called again, and refuses other channels
            return
        sized.add(module)
        if isinstance(module, nn.BatchNorm2d):
            _resize_norm(module, channels)
        elif isinstance(module, nn.Conv2d):
            own = channels if _is_depthwise(module) else module.out_channels
            _resize_conv(module, channels, own if width is None else width)

    return follow


def _resize_conv(layer: nn.Conv2d, in_channels: int, out_channels: int) -> None:
    if (in_channels, out_channels) == (layer.in_channels, layer.out_channels):
        return
    if _is_depthwise(layer):
        layer.groups = in_channels
    if in_channels % layer.groups or out_channels % layer.groups:
        raise ValueError(f"{in_channels} to {out_channels} channels in {layer.groups} groups")
    layer.in_channels, layer.out_channels = in_channels, out_channels
    shape = (out_channels, in_channels // layer.groups, *layer.weight.shape[2:])
    layer.weight = nn.Parameter(layer.weight.new_empty(shape))
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias.new_empty(out_channels))
    layer.reset_parameters()


def _resize_norm(layer: nn.BatchNorm2d, channels: int) -> None:
    if channels == layer.num_features:
        return
    layer.num_features = channels
    layer.weight, layer.bias = (nn.Parameter(value.new_empty(channels)) for value in (layer.weight, layer.bias))
    layer.running_mean, layer.running_var = (layer.weight.new_empty(channels) for _ in range(2))
    layer.reset_parameters()
