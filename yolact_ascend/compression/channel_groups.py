"""The groups of channels that can only be pruned together, and how many of each to keep for a share of the MACs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that are removed together, by their positions 0..C-1: `root` writes them, other layers read them.

    `importance` [C] has a mean of 1. `powers` are of the layers whose MACs change: 2 for one that reads and writes
    these channels, 1 for one that does either, or filters each alone.
    """

    root: str
    importance: np.ndarray
    powers: Mapping[str, int]

    @property
    def channels(self) -> int:
        return len(self.importance)

    def least_important(self, count: int) -> list[int]:
        """Return that many channels, by position."""
        order = np.argsort(self.importance, kind="stable")
        return sorted(int(channel) for channel in order[:count])

    def loss(self, width: int) -> float:
        """Return the importance that is lost when `width` channels are kept."""
        return float(np.sort(self.importance)[: self.channels - width].sum())


def choose_widths(
    groups: Sequence[ChannelGroup], macs: Mapping[str, int], share: float, round_to: int, least: int, most_cut: float
) -> tuple[dict[str, int], float]:
    """Return the width of each group by its root, and the share of the MACs that these widths save.

    Groups are narrowed one multiple of `round_to` at a time, always that one which saves the most MACs for the
    importance that it loses, until the share is reached or no group may be narrowed: to less than `least` channels, or
    by more than `most_cut` of its own. `macs` are those of each layer, of one image.
    """
    left, total = {name: float(count) for name, count in macs.items()}, float(sum(macs.values()))
    widths = {group.root: group.channels for group in groups}

    def narrower(group: ChannelGroup) -> int | None:
        width = (widths[group.root] - 1) // round_to * round_to
        return width if width >= max(least, (1 - most_cut) * group.channels) else None

    def factors(group: ChannelGroup, width: int) -> dict[str, float]:
        return {name: (width / widths[group.root]) ** power for name, power in group.powers.items()}

    def gain(group: ChannelGroup, width: int) -> float:
        saved = sum(left[name] * (1 - factor) for name, factor in factors(group, width).items())
        return saved / (group.loss(width) - group.loss(widths[group.root]) + 1e-9)

    while sum(left.values()) > (1 - share) * total:
        steps = [(group, width) for group in groups if (width := narrower(group)) is not None]
        if not steps:
            break
        group, width = max(steps, key=lambda step: gain(*step))
        for name, factor in factors(group, width).items():
            left[name] *= factor
        widths[group.root] = width
    return widths, 1 - sum(left.values()) / total
