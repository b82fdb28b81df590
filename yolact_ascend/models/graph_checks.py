"""What the host checks of a model whose graph chooses detections or candidates: the settings asked for, and outputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from yolact_ascend.detection.thresholds import EVALUATION_SETTINGS, PREDICTION_SETTINGS, DetectionSettings
from yolact_ascend.errors import ArtifactError, UsageError
from yolact_ascend.models.values import ModelConfig
from yolact_ascend.tensors import all_finite

DEFAULTS = (EVALUATION_SETTINGS, PREDICTION_SETTINGS)  # settings that nobody asked for


def require_settings(config: ModelConfig, settings: DetectionSettings, least: float, most: int) -> None:
    """Raise UsageError for a lower score than `least` or more detections than `most`, which are in the graph."""
    asked, count = settings.score_threshold, settings.max_detections
    in_the_graph = f"That is part of the exported graph of {config.name}"
    if asked < least and asked not in [defaults.score_threshold for defaults in DEFAULTS]:
        raise UsageError(
            f"A score threshold of {asked:g}: this model gives scores above {least:g} only. {in_the_graph}: pass "
            f"{least:g} or more."
        )
    if count > most and count not in [defaults.max_detections for defaults in DEFAULTS]:
        raise UsageError(
            f"{count} detections per image: this model gives at most {most}. {in_the_graph}: pass {most} or fewer."
        )


def require_numbers(values: Sequence[np.ndarray], source: str, remedy: str) -> None:
    """Raise ArtifactError when an output has values that are not finite."""
    if not all(map(all_finite, values)):
        raise ArtifactError(
            f"{source} give values that are not finite numbers. Did float16 overflow on the device, or do the "
            f"weights not belong to this model? {remedy}"
        )


def read_count(count: np.ndarray, most: int, source: str, what: str = "detections") -> int:
    """Return the count [1] of an image; raises ArtifactError when it is not 0 to `most`."""
    found = int(count.item())
    if not 0 <= found <= most:
        raise ArtifactError(
            f"{source} state {found} {what}, expected 0 to {most}. Are they outputs of another model, or of "
            "another type? Run the inference again."
        )
    return found


def require_classes(classes: np.ndarray, config: ModelConfig, source: str) -> None:
    """Raise ArtifactError for a class that the config does not have."""
    wrong = classes[(classes < 0) | (classes >= config.num_classes)]
    if len(wrong):
        raise ArtifactError(
            f"{source} give class {wrong[0]}, expected 0 to {config.num_classes - 1} for the "
            f"{config.num_classes} classes of {config.name}. Was the model exported with other classes? "
            "Export it again."
        )
