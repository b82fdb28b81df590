"""The prediction head on the host, for the `fpn` cut, where the graph on the device ends before it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from yolact_ascend.config import ModelConfig
from yolact_ascend.network import PredictionHead
from yolact_ascend.weights import read_state_dict

HEAD_PREFIX = "prediction_layers.0."


class HeadOutputs(NamedTuple):
    """Of one image: loc [A,4], conf logits [A,K+1], coeffs [A,M] (after tanh); float32."""

    loc: np.ndarray
    conf: np.ndarray
    coeffs: np.ndarray


class HostHeads:
    """Runs the shared head on the FPN levels that the device wrote."""

    def __init__(self, head: PredictionHead) -> None:
        self._head = head.eval()

    @classmethod
    def load(cls, weights: Path, config: ModelConfig) -> HostHeads:
        """Read the head from an upstream weights file; raises WeightsError when it does not fit the config."""
        state = read_state_dict(weights, config)
        head = PredictionHead(config)
        head.load_state_dict({k[len(HEAD_PREFIX) :]: v for k, v in state.items() if k.startswith(HEAD_PREFIX)})
        return cls(head)

    def __call__(self, levels: Sequence[np.ndarray]) -> HeadOutputs:
        """Run the head on the levels P3..P7 of one image, each [C,h,w]."""
        with torch.inference_mode():
            tensors = self._head.predict_levels([torch.from_numpy(level)[None] for level in levels])
        return HeadOutputs(*(tensor[0].numpy() for tensor in tensors))
