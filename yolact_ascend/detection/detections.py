"""The detections of one image as a value, and as entries of COCO's results format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yolact_ascend.detection.run_lengths import Rle
from yolact_ascend.detection.tasks import BOX, MASK


@dataclass(frozen=True)
class Detections:
    """What was found in one image, best score first; N = 0 is normal.

    class_ids [N] 0..K-1, scores [N] 0..1, boxes_xyxy_px [N,4] inside the image with exclusive right and bottom, and one
    mask each, or None where the network finds boxes only. Boxes are whole pixels where a family rounds them (YOLACT),
    else float32.
    """

    class_ids: np.ndarray
    scores: np.ndarray
    boxes_xyxy_px: np.ndarray
    masks: tuple[Rle, ...] | None = None

    def __post_init__(self) -> None:
        n = len(self.class_ids)
        masks = n if self.masks is None else len(self.masks)
        shapes = (self.class_ids.shape, self.scores.shape, self.boxes_xyxy_px.shape, (masks,))
        if shapes != ((n,), (n,), (n, 4), (n,)):
            raise ValueError(f"Detections need class_ids [N], scores [N], boxes [N,4] and N masks; found {shapes}.")
        if not (np.issubdtype(self.boxes_xyxy_px.dtype, np.integer) or self.boxes_xyxy_px.dtype == np.float32):
            raise ValueError(f"boxes_xyxy_px are whole pixels or float32; found {self.boxes_xyxy_px.dtype}.")
        if np.any(self.boxes_xyxy_px[:, :2] > self.boxes_xyxy_px[:, 2:]):
            raise ValueError("boxes_xyxy_px need left <= right and top <= bottom.")

    def __len__(self) -> int:
        return len(self.class_ids)


def keep_scores(detections: Detections, threshold: float) -> Detections:
    """Return the detections that score above the threshold.

    `DetectionSettings.score_threshold` is on an anchor's best class; its other classes may come with lower scores.
    """
    count = int(np.count_nonzero(detections.scores > threshold))  # the best come first
    return Detections(
        detections.class_ids[:count],
        detections.scores[:count],
        detections.boxes_xyxy_px[:count],
        None if detections.masks is None else detections.masks[:count],
    )


def bbox_results(detections: Detections, image_id: int, category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Return the boxes as entries of COCO's results format; `category_ids` [K] are the classes' ids there."""
    corners = detections.boxes_xyxy_px
    boxes_xywh = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).tolist()
    return _results(detections, image_id, category_ids, "bbox", boxes_xywh)


def mask_results(detections: Detections, image_id: int, category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Return the masks as entries of COCO's results format; `category_ids` [K] are the classes' ids there."""
    assert detections.masks is not None
    return _results(detections, image_id, category_ids, "segmentation", detections.masks)


def whole_results(
    detections: Detections,
    class_names: Sequence[str],
    category_ids: Sequence[int],
    image_id: int | None = None,
    track_ids: Sequence[int | None] | None = None,
) -> list[dict[str, Any]]:
    """Return one entry for each detection: COCO's, with box and mask (if any) together, and the name of its class.

    `class_names` and `category_ids` [K] are those of the classes. Without `image_id` or `track_ids` [N] there are none
    in the entries.
    """
    shapes: Sequence[dict[str, Any]] = [{}] * len(detections)
    if detections.masks is not None:
        shapes = [{"segmentation": rle} for rle in detections.masks]
    image = {} if image_id is None else {"image_id": image_id}
    tracks: Sequence[dict[str, Any]] = [{}] * len(detections)
    if track_ids is not None:
        tracks = [{"track_id": track_id} for track_id in track_ids]
    entries = bbox_results(detections, 0, category_ids)
    return [
        {
            **image,
            **{"category_id": entry["category_id"], "bbox": entry["bbox"]},
            **shape,
            **{"score": entry["score"], "class_name": class_names[class_id]},
            **track,
        }
        for entry, shape, track, class_id in zip(entries, shapes, tracks, detections.class_ids.tolist())
    ]


# task -> how its entries of COCO's results format are made
RESULTS_OF: dict[str, Callable[[Detections, int, Sequence[int]], list[dict[str, Any]]]] = {
    BOX: bbox_results,
    MASK: mask_results,
}


def _results(
    detections: Detections, image_id: int, category_ids: Sequence[int], key: str, values: Sequence[Any]
) -> list[dict[str, Any]]:
    return [
        {"image_id": image_id, "category_id": category_ids[class_id], key: value, "score": score}
        for class_id, value, score in zip(detections.class_ids.tolist(), values, detections.scores.tolist())
    ]
