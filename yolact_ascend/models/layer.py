"""A layer that multiplies matrices, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass

FLOP_PER_MAC = 2  # a multiplication and an addition


@dataclass(frozen=True)
class Layer:
    """One layer, of one image: a node of a graph, or one call of a module of a network."""

    name: str
    operator: str
    output_shape: tuple[int, ...]
    parameters: int  # of weights and bias; values that are computed count 0
    is_shared: bool  # an earlier layer has the same weights
    macs: int

    @property
    def flop(self) -> int:
        return FLOP_PER_MAC * self.macs
