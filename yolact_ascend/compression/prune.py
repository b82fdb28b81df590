"""Structured pruning: channels of a trained network are removed, with all that reads them (Torch-Pruning).

Source: Fang et al., "DepGraph: Towards Any Structural Pruning" (2023), which finds the channels that belong together.
"""

from __future__ import annotations

import copy
import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning
from torch import nn

from yolact_ascend.compression.channel_groups import ChannelGroup, choose_widths
from yolact_ascend.compression.recipe import PruneRecipe
from yolact_ascend.errors import UsageError
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.families import family_of
from yolact_ascend.models.layer import FLOP_PER_MAC
from yolact_ascend.models.network_layers import count_network, whole_cut
from yolact_ascend.models.widths import widths_of
from yolact_ascend.tables import markdown_table

MOST_OF_A_GROUP = 0.5  # of a group's channels that may go: more, and fine-tuning brings back little of the layer
SUFFIX, PRUNED_SUFFIX = "_config", "_pruned_config"


@dataclass(frozen=True)
class LayerChange:
    """One convolution before and after: channels in and out, and multiply-adds of one image."""

    name: str
    channels: tuple[int, int]
    pruned_channels: tuple[int, int]
    macs: int
    pruned_macs: int


@dataclass(frozen=True)
class Pruned:
    """A pruned network, its config, and what changed."""

    network: nn.Module
    config: ModelConfig
    layers: tuple[LayerChange, ...]

    @property
    def removed_share(self) -> float:
        """The share of the multiply-adds that is gone."""
        return 1 - sum(layer.pruned_macs for layer in self.layers) / sum(layer.macs for layer in self.layers)


def prune_network(network: nn.Module, config: ModelConfig, recipe: PruneRecipe) -> Pruned:
    """Return a copy of a network without the least important channels; the network stays as it is.

    Importance is the norm of all weights that write or read a channel. Raises UsageError for a family whose networks
    are not pruned, and when the recipe's widths do not reach its ratio.
    """
    pruned, cut = copy.deepcopy(network).eval(), whole_cut(config)
    traced = family_of(config).prunable(pruned)
    if traced is None:
        raise UsageError(f"{config.name} is of the family {config.family}, expected yolact: no others are pruned.")
    graph = torch_pruning.DependencyGraph()
    graph.build_dependency(traced.network, traced.inputs)
    groups = find_groups(graph, pruned, traced.fixed)
    macs = macs_by_layer(config, cut)
    widths, share = choose_widths(groups, macs, recipe.ratio, recipe.round_to, recipe.least_channels, MOST_OF_A_GROUP)
    if share < recipe.ratio:
        raise UsageError(
            f"Pruning removes {share:.1%} of the operations of {config.name} at most, expected {recipe.ratio:.1%}: its "
            f"layers keep multiples of {recipe.round_to} channels, {recipe.least_channels} at least, and half of what "
            "they have. Lower ratio, round_to or least_channels in the recipe."
        )
    for group in groups:
        gone = group.least_important(group.channels - widths[group.root])
        if gone:
            root = pruned.get_submodule(group.root)
            graph.get_pruning_group(root, torch_pruning.prune_conv_out_channels, gone).prune()
    pruned_config = with_widths_of(config, pruned)
    return Pruned(pruned, pruned_config, compare_layers(network, pruned, macs, macs_by_layer(pruned_config, cut)))


def find_groups(graph: Any, network: nn.Module, fixed: Sequence[nn.Module]) -> list[ChannelGroup]:
    """Return the groups of channels that can be pruned, without those of the `fixed` layers' outputs."""
    names = {module: name for name, module in network.named_modules()}
    measure = torch_pruning.importance.GroupMagnitudeImportance(p=2)
    found = []
    for group in graph.get_all_groups(list(fixed), (nn.Conv2d,)):
        powers: dict[str, int] = {}
        for dependency, _ in group:
            layer = dependency.target.module
            if isinstance(layer, nn.Conv2d):
                powers[names[layer]] = 1 if layer.groups > 1 else powers.get(names[layer], 0) + 1
        importance = measure(group).detach().numpy()
        found.append(ChannelGroup(names[group[0].dep.target.module], importance / importance.mean(), powers))
    return found


def with_widths_of(config: ModelConfig, network: nn.Module) -> ModelConfig:
    """Return the config of a pruned network: its widths, and a name that is in no list."""
    with torch.device("meta"):
        plain = widths_of(family_of(config).build(dataclasses.replace(config, widths=())))
    changed = {name: width for name, width in widths_of(network).items() if width != plain[name]}
    name = config.name if config.widths else f"{config.name.removesuffix(SUFFIX)}{PRUNED_SUFFIX}"
    return dataclasses.replace(config, name=name, widths=tuple(changed.items()))


def macs_by_layer(config: ModelConfig, cut: str) -> Mapping[str, int]:
    """Return the multiply-adds of each layer up to a cut, of one image, its calls together."""
    macs: Counter[str] = Counter()
    for layer in count_network(config, cut):
        macs[layer.name] += layer.macs
    return macs


def compare_layers(
    network: nn.Module, pruned: nn.Module, macs: Mapping[str, int], pruned_macs: Mapping[str, int]
) -> tuple[LayerChange, ...]:
    """Return the convolutions of a network and of its pruned copy, in the network's order."""

    def channels(owner: nn.Module, name: str) -> tuple[int, int]:
        layer = owner.get_submodule(name)
        assert isinstance(layer, nn.Conv2d)
        return layer.in_channels, layer.out_channels

    return tuple(
        LayerChange(name, channels(network, name), channels(pruned, name), count, pruned_macs[name])
        for name, count in macs.items()
    )


def format_pruned(pruned: Pruned) -> str:
    """Return the layers that changed as a Markdown table, and the sums of all layers."""

    def row(name: str, before: str, after: str, *macs: int) -> tuple[str, ...]:
        return name, before, after, *(f"{count / 1e6:.1f}" for count in macs)

    def show(channels: tuple[int, int]) -> str:
        return f"{channels[0]} → {channels[1]}"

    rows = [
        row(each.name, show(each.channels), show(each.pruned_channels), each.macs, each.pruned_macs)
        for each in pruned.layers
        if each.channels != each.pruned_channels
    ]
    macs, left = (sum(values) for values in zip(*((each.macs, each.pruned_macs) for each in pruned.layers)))
    rows.append(row(f"all {len(pruned.layers)} layers", "", "", macs, left))
    flop = f"{FLOP_PER_MAC * macs / 1e9:.2f} to {FLOP_PER_MAC * left / 1e9:.2f} GFLOP, {pruned.removed_share:.1%} less"
    heads = ("layer", "channels", "pruned", "MMAC", "pruned MMAC")
    return f"{markdown_table(heads, rows)}\n\n{pruned.config.name}: {flop}"
