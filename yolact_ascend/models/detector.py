"""Makes the host's part behind a cut; PyTorch is imported only where that contains a part of the network."""

from __future__ import annotations

from pathlib import Path

from yolact_ascend.detection.thresholds import EVALUATION_SETTINGS, DetectionSettings
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.families import family_of
from yolact_ascend.models.family import Detector


def load_detector(
    weights: Path,
    config: ModelConfig,
    cut: str,
    settings: DetectionSettings = EVALUATION_SETTINGS,
    threads: int = 1,
) -> Detector:
    """Return the host's part behind a cut; `threads` is for callers that have one image at a time.

    Raises WeightsError when the weights are needed, and missing or do not fit the config.
    """
    family = family_of(config)
    host_part = None
    if family.has_host_part(cut):
        from yolact_ascend.models.weights import load_network

        host_part = family.export_host_part(load_network(weights, config), config, cut)
    return family.make_detector(config, cut, host_part, settings, threads)
