"""From the outputs of a YOLACT network for one image to its detections: the host's part behind each cut.

Source: haotian-liu/yolact_edge @ a9a0028, yolact_edge/layers/functions/detection.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from yolact_ascend.detection.boxes import decode_boxes, scale_boxes
from yolact_ascend.detection.detections import Detections
from yolact_ascend.detection.masks import encode_masks, encode_masks_cut_last
from yolact_ascend.detection.nms import Candidates, score_anchors, softmax, suppress_overlaps
from yolact_ascend.detection.thresholds import EVALUATION_SETTINGS, DetectionSettings
from yolact_ascend.errors import ArtifactError
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.family import DETECTIONS
from yolact_ascend.models.graph_checks import read_count, require_classes, require_numbers, require_settings
from yolact_ascend.models.yolact.anchors import make_anchors
from yolact_ascend.models.yolact.cuts import (
    BOXES,
    CANDIDATES,
    HEADS,
    SETTINGS,
    count_anchors,
    cut_outputs,
    detection_rows,
    image_size_px,
)
from yolact_ascend.tensors import TensorSpec
from yolact_ascend.timings import Timings

# The prediction head on the host (heads.HostHeads): P3..P7 of one image, each [C,h,w] -> loc, conf logits, coeffs.
Heads = Callable[[Sequence[np.ndarray]], tuple[np.ndarray, np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class YolactDetector:
    """The host's part: from the outputs of one image to its detections. Goes to other processes whole.

    Raises UsageError for a lower score or more detections than a graph gives that ends in detections.
    """

    config: ModelConfig
    cut: str
    heads: Heads | None  # None: the device ran them
    settings: DetectionSettings = EVALUATION_SETTINGS

    def __post_init__(self) -> None:
        if self.cut == DETECTIONS:
            require_settings(self.config, self.settings, SETTINGS.score_threshold, detection_rows(self.config))

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What the model gives for one image."""
        return cut_outputs(self.config, self.cut)

    def detect(
        self, outputs: Sequence[np.ndarray], height: int, width: int, source: str, remedy: str, timings: Timings
    ) -> Detections:
        """Detect the instances in one image's outputs, at its size in pixels.

        Raises ArtifactError when values are not finite, or are no count or class; `source` names where the outputs are
        from, `remedy` what to do.
        """
        *head_outputs, protos = outputs
        with timings.timed("detect"):
            protos = _as_float32(protos)
        if self.heads is not None:
            with timings.timed("heads"):
                head_outputs = list(self.heads(head_outputs))
            self._require_own_heads(head_outputs)
        # A float16 overflow on the device would otherwise end as "nothing found", or as a plausible mAP.
        with timings.timed("detect"):
            require_numbers((*head_outputs, protos), source, remedy)
        timings.images += 1
        size = protos, height, width
        if self.cut == DETECTIONS:
            return self._take_detections(head_outputs, *size, source, timings)
        if self.cut == CANDIDATES:
            boxes, scores, passing, coeffs = head_outputs
            self._count_overfull(scores, passing, source, timings)
            return detect_decoded((scores, boxes, coeffs), *size, self.settings, timings)
        first, second, coeffs = head_outputs
        if self.cut == BOXES:
            return detect_decoded((first, second, coeffs), *size, self.settings, timings)
        anchors = make_anchors(self.config.anchors, image_size_px(self.config))
        return detect((first, second, coeffs), *size, anchors, self.settings, timings)

    def _count_overfull(self, scores: np.ndarray, passing: np.ndarray, source: str, timings: Timings) -> None:
        """Count the image when anchors pass the threshold that are not among the candidates."""
        count = read_count(passing, count_anchors(self.config), source, "anchors above the threshold")
        with timings.timed("detect"):
            is_more = count > len(scores) or self.settings.score_threshold < SETTINGS.score_threshold
            if is_more and (scores[:, 1:].max(axis=1) > self.settings.score_threshold).all():
                timings.overfull_images += 1

    def _take_detections(
        self,
        outputs: Sequence[np.ndarray],
        protos: np.ndarray,
        height: int,
        width: int,
        source: str,
        timings: Timings,
    ) -> Detections:
        boxes, scores, class_ids, count, coeffs = outputs
        found = read_count(count, len(scores), source)
        require_classes(class_ids[:found], self.config, source)
        with timings.timed("detect"):
            rows = np.arange(found)
            # The graph's own threshold is on an anchor's best class; these scores are each of their own class.
            if self.settings.score_threshold > SETTINGS.score_threshold:
                rows = np.flatnonzero(scores[:found] > self.settings.score_threshold)
            rows = rows[: self.settings.max_detections]
            # One anchor often appears with several classes; its mask is the same.
            same = np.concatenate([boxes[rows], coeffs[rows]], axis=1)
            _, distinct, which = np.unique(same, axis=0, return_index=True, return_inverse=True)
            distinct = rows[distinct]
        chosen = Candidates(class_ids[rows].astype(np.intp), scores[rows], which.reshape(-1))
        return _with_masks(chosen, boxes[distinct], coeffs[distinct], protos, height, width, self.settings, timings)

    def _require_own_heads(self, outputs: Sequence[np.ndarray]) -> None:
        """Raise ArtifactError when the heads are of other classes or anchors than the config's."""
        found, expected = [output.shape for output in outputs], [spec.shape for spec in self._head_outputs]
        if found != expected:
            raise ArtifactError(
                f"The heads of the model give {found}, expected {expected} for the classes and anchors of "
                f"{self.config.name}. Export the model again (export, pth2onnx.py)."
            )

    @functools.cached_property
    def _head_outputs(self) -> tuple[TensorSpec, ...]:
        return cut_outputs(self.config, HEADS)[:-1]


def detect(
    head_outputs: tuple[np.ndarray, np.ndarray, np.ndarray],
    protos: np.ndarray,
    height: int,
    width: int,
    anchors: np.ndarray,
    settings: DetectionSettings = EVALUATION_SETTINGS,
    timings: Timings | None = None,
) -> Detections:
    """Detect the instances in one image of height×width pixels.

    Takes the head's loc [A,4], conf logits [A,K+1] and coeffs [A,M], the prototypes [h,w,M] and the anchors [A,4]
    (cxcywh_rel); all float32.
    """
    timings = timings or Timings()
    loc, conf, coeffs = head_outputs
    with timings.timed("detect"):
        anchor_ids, best = score_anchors(conf, settings.score_threshold)

        def score(rows: np.ndarray) -> np.ndarray:
            return softmax(conf[anchor_ids[rows]])[:, 1:]

        def decode(rows: np.ndarray) -> np.ndarray:
            return decode_boxes(loc[anchor_ids[rows]], anchors[anchor_ids[rows]])

    scored = ScoredAnchors(best, score, decode, lambda rows: coeffs[anchor_ids[rows]])
    return _choose(scored, protos, height, width, settings, timings)


def detect_decoded(
    outputs: tuple[np.ndarray, np.ndarray, np.ndarray],
    protos: np.ndarray,
    height: int,
    width: int,
    settings: DetectionSettings = EVALUATION_SETTINGS,
    timings: Timings | None = None,
) -> Detections:
    """Detect as `detect` does, where the device made scores and boxes.

    Takes conf [A,K+1] after softmax, boxes [A,4] (xyxy_rel), coefficients [A,M] and the prototypes [h,w,M].
    """
    timings = timings or Timings()
    conf, boxes, coeffs = outputs
    with timings.timed("detect"):
        best = conf[:, 1:].max(axis=1)
        anchor_ids = np.flatnonzero(best > settings.score_threshold)
    scored = ScoredAnchors(
        best[anchor_ids],
        lambda rows: conf[anchor_ids[rows], 1:],
        lambda rows: boxes[anchor_ids[rows]],
        lambda rows: coeffs[anchor_ids[rows]],
    )
    return _choose(scored, protos, height, width, settings, timings)


class ScoredAnchors(NamedTuple):
    """The anchors [n] that may become detections: the best score of each, and what is needed of few of them."""

    best: np.ndarray  # [n]
    score: Callable[[np.ndarray], np.ndarray]  # rows [m] -> scores without the background [m,K]
    decode: Callable[[np.ndarray], np.ndarray]  # rows [m] -> boxes_xyxy_rel [m,4]
    coeffs: Callable[[np.ndarray], np.ndarray]  # rows [m] -> mask coefficients [m,M]


def _choose(
    scored: ScoredAnchors,
    protos: np.ndarray,
    height: int,
    width: int,
    settings: DetectionSettings,
    timings: Timings,
) -> Detections:
    """Return what NMS leaves of the candidates, with boxes and masks of height×width pixels."""
    with timings.timed("detect"):
        class_ids, scores, rows = suppress_overlaps(scored.best, scored.score, scored.decode, settings)
        # One anchor often appears with several classes; its mask is the same.
        distinct, which = np.unique(rows, return_inverse=True)
        boxes, coeffs = scored.decode(distinct), scored.coeffs(distinct)
    chosen = Candidates(class_ids, scores, which)
    return _with_masks(chosen, boxes, coeffs, protos, height, width, settings, timings)


def _as_float32(values: np.ndarray) -> np.ndarray:
    """Return float16 or float32 values as float32: by a table, in less than half of the time of `astype`."""
    return values if values.dtype == np.float32 else _float32_of_float16().take(values.view(np.uint16))


@functools.cache
def _float32_of_float16() -> np.ndarray:
    return np.arange(1 << 16).astype(np.uint16).view(np.float16).astype(np.float32)


def _with_masks(
    chosen: Candidates,
    boxes: np.ndarray,
    coeffs: np.ndarray,
    protos: np.ndarray,
    height: int,
    width: int,
    settings: DetectionSettings,
    timings: Timings,
) -> Detections:
    """Return chosen pairs of a class and a row of boxes [n,4] xyxy_rel and coeffs [n,M], with boxes in px and masks."""
    with timings.timed("detect"):
        boxes_px = scale_boxes(boxes, height, width, settings.has_whole_boxes)[chosen.rows]
    encode = encode_masks if settings.cuts_masks_first else encode_masks_cut_last
    masks = encode(protos, coeffs, boxes, height, width, settings.mask_threshold, timings)
    return Detections(chosen.class_ids, chosen.scores, boxes_px, tuple(masks[i] for i in chosen.rows))
