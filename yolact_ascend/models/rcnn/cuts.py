"""Where an R-CNN graph may end, and the tensors there."""

from __future__ import annotations

from yolact_ascend.detection.tasks import MASK
from yolact_ascend.models.family import DETECTIONS, ONNX, detection_outputs
from yolact_ascend.models.values import CANVAS_MULTIPLE, ModelConfig, Rcnn
from yolact_ascend.tensors import TensorSpec

CUTS = (DETECTIONS,)
# Which operators choose and pool in a graph: ONNX's, or Ascend's, with pooling as the weights expect it or, as Ascend's
# own recipe has it, half a cell off.
ASCEND, ASCEND_UNALIGNED = "ascend", "ascend_unaligned"
OPERATORS = (ONNX, ASCEND, ASCEND_UNALIGNED)
STRIDES = (4, 8, 16, 32, 64)  # pixels a cell of P2..P6
POOLED_LEVELS = 4  # P2..P5; P6 is for proposals only


def cut_outputs(config: ModelConfig, cut: str) -> tuple[TensorSpec, ...]:
    """Return the outputs of one image, N rows by falling score of which the first `count` are detections.

    boxes [N,4] are xyxy in px of the resized picture, classes count from 0 without the background, masks [N,28,28] are
    the probabilities of the found class. Rows behind `count` are zeros. Raises ValueError for a canvas that the levels
    do not divide.
    """
    rcnn, size = rcnn_of(config), config.preprocessing
    if size.height_px % CANVAS_MULTIPLE or size.width_px % CANVAS_MULTIPLE:
        raise ValueError(
            f"{config.name} has a canvas of {size.height_px}x{size.width_px} pixels (height x width); expected "
            f"multiples of {CANVAS_MULTIPLE}."
        )
    rows = rcnn.max_detections
    outputs = detection_outputs(rows)
    if MASK not in config.tasks:
        return outputs
    side = 2 * rcnn.mask_pooler_size
    return (*outputs, TensorSpec("masks", (rows, side, side)))


def rcnn_of(config: ModelConfig) -> Rcnn:
    """Return what a config of this family has beside the backbone; raises ValueError when it has nothing."""
    if config.rcnn is None:
        raise ValueError(f"{config.name} is of the rcnn family, but has no values of it.")
    return config.rcnn
