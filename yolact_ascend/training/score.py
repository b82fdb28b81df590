"""Scores a network that is being trained, as the pipeline would: same preprocessing, detection and COCOeval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from yolact_ascend.detection.evaluate import Evaluation
from yolact_ascend.detection.thresholds import EVALUATION_SETTINGS
from yolact_ascend.host.score import score_engine
from yolact_ascend.images.coco import CocoDataset
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.families import family_of
from yolact_ascend.models.inputs import input_tensors
from yolact_ascend.slots import Slots
from yolact_ascend.targets.target import OneByOne, Timing


class NetworkEngine(OneByOne):
    """A PyTorch network in this process, at the cut behind which the host needs no weights."""

    def __init__(self, network: nn.Module, config: ModelConfig, device: torch.device | str) -> None:
        family = family_of(config)
        self.cut = next(cut for cut in family.cuts if not family.has_host_part(cut))
        self.inputs = input_tensors(config)
        self.outputs = family.outputs(config, self.cut)
        self.metadata: Mapping[str, str] = {}
        self._network = family.at_cut(network, config, self.cut)
        self._device = device

    @property
    def batch_size(self) -> int | None:
        return None

    def infer(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        with torch.inference_mode():
            tensors = [torch.from_numpy(each).to(self._device) for each in inputs]
            return [output.cpu().numpy() for output in self._network(*tensors)]

    def infer_slot(self, slots: Slots, slot: int, count: int, images: Sequence[np.ndarray] | None = None) -> Timing:
        raise NotImplementedError("a network in training does not stream")

    def __enter__(self) -> NetworkEngine:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def score_network(
    network: nn.Module,
    config: ModelConfig,
    dataset: CocoDataset,
    limit: int | None = None,
    device: torch.device | str = "cpu",
) -> Evaluation:
    """Score a network on the first images of a data set."""
    modes = {module: module.training for module in network.modules()}  # frozen batch norms are not in training
    network.eval()
    engine = NetworkEngine(network, config, device)
    detector = family_of(config).make_detector(config, engine.cut, None, EVALUATION_SETTINGS, 1)
    evaluation = score_engine(engine, detector, config.category_ids, dataset, dataset.select(limit=limit))
    for module, was_training in modes.items():
        module.training = was_training
    return evaluation
