"""Thresholds and conventions between the network's outputs and a list of detections."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DetectionSettings:
    """Thresholds between the network's outputs and a list of detections (upstream's `Detect` and config)."""

    score_threshold: float = 0.05  # on the best class of an anchor, after softmax
    nms_iou_threshold: float = 0.5
    top_k_per_class: int = 200  # candidates that enter Fast NMS
    max_detections: int = 100  # an image
    mask_threshold: float = 0.5
    # Upstream's conventions; the others are there for `explain_map`, and a family may have only one of each.
    standard_nms_px: int | None = None  # None: Fast NMS; else standard NMS on an input of so many pixels a side
    has_whole_boxes: bool = True  # boxes are cut to whole pixels
    cuts_masks_first: bool = True  # masks are cut to their box before they are upsampled


EVALUATION_SETTINGS = DetectionSettings()
PREDICTION_SETTINGS = DetectionSettings(score_threshold=0.3)  # for pictures that people look at
