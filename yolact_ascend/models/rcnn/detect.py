"""From the outputs of an R-CNN graph to detections in the pixels of the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from yolact_ascend.detection.detections import Detections
from yolact_ascend.detection.thresholds import EVALUATION_SETTINGS, DetectionSettings
from yolact_ascend.errors import ArtifactError
from yolact_ascend.models.rcnn.cuts import DETECTIONS, cut_outputs
from yolact_ascend.models.values import ModelConfig
from yolact_ascend.tensors import TensorSpec, all_finite
from yolact_ascend.timings import Timings


@dataclass(frozen=True)
class RcnnDetector:
    """The host's part: from the outputs of one image to its detections. Goes to other processes whole."""

    config: ModelConfig
    settings: DetectionSettings = EVALUATION_SETTINGS

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What the model gives for one image."""
        return cut_outputs(self.config, DETECTIONS)

    def detect(
        self, outputs: Sequence[np.ndarray], height: int, width: int, source: str, remedy: str, timings: Timings
    ) -> Detections:
        """Detect the instances in one image's outputs, at its size in pixels.

        Raises ArtifactError when values are not finite; `source` names where the outputs are from, `remedy` what to do.
        """
        boxes, scores, classes, count = outputs[:4]
        if not all(map(all_finite, (boxes, scores))):
            raise ArtifactError(f"{source} give values that are not finite numbers. {remedy}")
        timings.images += 1
        kept = np.flatnonzero(scores[: int(count[0])] > self.settings.score_threshold)
        limits = np.array([width, height, width, height])
        return Detections(
            classes[kept].astype(np.int64), scores[kept], np.clip(boxes[kept], 0, limits).astype(np.int64)
        )
