"""From the outputs of an R-CNN for one image to its detections: the host's part behind the cut `detections`.

Boxes and masks take the image's size here; all else is in the graph. Source: facebookresearch/detectron2 @ 02b5c4e,
modeling/postprocessing.py (detector_postprocess); facebookresearch/Detectron @ 04155a0, core/test.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from yolact_ascend.detection.detections import Detections
from yolact_ascend.detection.paste import paste_masks, paste_resized_masks
from yolact_ascend.detection.tasks import MASK
from yolact_ascend.detection.thresholds import EVALUATION_SETTINGS, DetectionSettings
from yolact_ascend.errors import ArtifactError
from yolact_ascend.models.family import DETECTIONS
from yolact_ascend.models.graph_checks import read_count, require_classes, require_numbers, require_settings
from yolact_ascend.models.rcnn.cuts import cut_outputs, rcnn_of
from yolact_ascend.models.resized_size import resized_size
from yolact_ascend.models.values import DETECTRON1, ModelConfig
from yolact_ascend.tensors import TensorSpec
from yolact_ascend.timings import Timings

ROUNDED_PX = 2.0  # float16 rounds a side of 8192 px, the largest canvas, by this


@dataclass(frozen=True)
class RcnnDetector:
    """The host's part: from the outputs of one image to its detections. Goes to other processes whole.

    Raises UsageError for a lower score or more detections than the graph gives.
    """

    config: ModelConfig
    settings: DetectionSettings = EVALUATION_SETTINGS

    def __post_init__(self) -> None:
        rcnn = rcnn_of(self.config)
        require_settings(self.config, self.settings, rcnn.score_threshold, rcnn.max_detections)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What the model gives for one image."""
        return cut_outputs(self.config, DETECTIONS)

    def detect(
        self, outputs: Sequence[np.ndarray], height: int, width: int, source: str, remedy: str, timings: Timings
    ) -> Detections:
        """Detect the instances in one image's outputs, at its size in pixels.

        Takes boxes [N,4] (xyxy, in pixels of the resized picture), scores [N], classes [N], count [1] and, of a network
        with masks, masks [N,M,M]. Raises ArtifactError when values are not finite, or are no count or class; `source`
        names where the outputs are from, `remedy` what to do.
        """
        with timings.timed("detect"):
            boxes, scores, classes, count, *masks = outputs
            require_numbers((boxes, scores, *masks), source, remedy)
            found = read_count(count, rcnn_of(self.config).max_detections, source)
            require_classes(classes[:found], self.config, source)
            is_old = rcnn_of(self.config).dialect == DETECTRON1
            resized = resized_size(height, width, self.config.preprocessing)
            self._require_inside(boxes[:found], resized, source)
            scale = width / resized[1], height / resized[0]
            placed, boxes_px = place_boxes(boxes[:found], scale, height, width, is_old)
            rows = choose_rows(scores[:found], boxes_px, self.settings)
        timings.images += 1
        rles = None
        if MASK in self.config.tasks:
            paste = paste_resized_masks if is_old else paste_masks
            threshold = self.settings.mask_threshold
            rles = tuple(paste(masks[0][rows], placed[rows], height, width, threshold, timings))
        return Detections(classes[rows].astype(np.intp), scores[rows], boxes_px[rows], rles)

    def _require_inside(self, boxes: np.ndarray, resized: tuple[int, int], source: str) -> None:
        """Raise ArtifactError for a box that the graph, which clips boxes to the resized picture, cannot have given."""
        height, width = resized
        beyond = boxes[(boxes > np.array([width, height] * 2) + ROUNDED_PX).any(axis=1)]
        if len(beyond):
            raise ArtifactError(
                f"{source} give a box up to x {beyond[0][2]:g}, y {beyond[0][3]:g}, expected inside the picture of "
                f"{width}×{height} px on the canvas of {self.config.name}. Are they outputs of a model with another "
                "canvas, or of another image? Run the inference again."
            )


def place_boxes(
    boxes: np.ndarray, scale: tuple[float, float], height: int, width: int, has_last_pixels: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Scale boxes [N,4] to the image and clip them; returns what masks are pasted to, and boxes_xyxy_px, [N,4] each.

    `has_last_pixels`: right and bottom are a box's last pixels, as Detectron1 has them, and not exclusive.
    """
    last = 1 if has_last_pixels else 0
    scaled = boxes * np.tile(np.array(scale, np.float32), 2)
    placed = np.clip(scaled, 0, np.tile(np.array([width - last, height - last], np.float32), 2))
    exclusive = placed.copy()
    exclusive[:, 2:] += last
    return placed, exclusive


def choose_rows(scores: np.ndarray, boxes_xyxy_px: np.ndarray, settings: DetectionSettings) -> np.ndarray:
    """Return the rows that are detections, best first: above the threshold, with an area, and no more than allowed."""
    has_area = (boxes_xyxy_px[:, 2:] > boxes_xyxy_px[:, :2]).all(axis=1)
    rows = np.flatnonzero(has_area & (scores > settings.score_threshold))
    return rows[np.argsort(-scores[rows], kind="stable")][: settings.max_detections]
