"""Where a YOLACT graph may end, the tensors at each cut, and the sizes that follow from the size of the input."""

from __future__ import annotations

from dataclasses import replace

from yolact_ascend.detection import output_names
from yolact_ascend.detection.output_names import COEFFS, COUNT, PROTOS, SCORES
from yolact_ascend.detection.thresholds import EVALUATION_SETTINGS
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.family import DETECTIONS, detection_outputs
from yolact_ascend.tensors import TensorSpec

# Before the prediction heads, as in Ascend ModelZoo's YolactEdge guide; after them; with scores and boxes, by the names
# that Open Model Zoo's YOLACT adapter takes; with the best anchors alone; or with detections.
FPN, HEADS, BOXES, CANDIDATES = "fpn", "heads", "boxes", "candidates"
CUTS = (FPN, HEADS, BOXES, CANDIDATES, DETECTIONS)
SETTINGS = EVALUATION_SETTINGS  # the thresholds inside a graph that ends in candidates or detections
MOST_CANDIDATES = 1000  # anchors that such a graph looks at behind the heads
LEVEL_LAYER = "fpn_phase_2.pred_layers.0"  # the convolution that makes P5
STRIDES = (8, 16, 32, 64, 128)  # pixels a cell of P3..P7; a rest of a cell counts as one


def level_sizes(image_size_px: int) -> tuple[int, ...]:
    """Return the cells along each side of P3..P7 for a square image: 69, 35, 18, 9, 5 at 550 pixels."""
    return tuple(-(-image_size_px // stride) for stride in STRIDES)


def proto_size(image_size_px: int) -> int:
    """Return the cells along each side of the prototype grid, twice those of P3: 138 at 550 pixels."""
    return 2 * level_sizes(image_size_px)[0]


def image_size_px(config: ModelConfig) -> int:
    """Return the side of the network's input in pixels; raises ValueError for an input that is not square."""
    height, width = config.preprocessing.height_px, config.preprocessing.width_px
    if height != width:
        raise ValueError(f"{config.name} has an input of {width}×{height} pixels; the yolact family needs a square.")
    return height


def count_anchors(config: ModelConfig) -> int:
    """Return the number of anchors of one image: 19248 at 550 pixels and 3 for each cell."""
    sizes = level_sizes(image_size_px(config))
    return config.anchors.per_cell * sum(size * size for size in sizes)


def candidate_rows(config: ModelConfig) -> int:
    """Return how many anchors the cut `candidates` keeps: 1000, or all of a small network."""
    return min(MOST_CANDIDATES, count_anchors(config))


def rows_per_class(config: ModelConfig) -> int:
    """Return how many candidates of a class enter Fast NMS in the graph."""
    return min(SETTINGS.top_k_per_class, candidate_rows(config))


def detection_rows(config: ModelConfig) -> int:
    """Return how many detections the cut `detections` has room for: 100, or fewer of a small network."""
    return min(SETTINGS.max_detections, config.num_classes * rows_per_class(config))


def level_channels(config: ModelConfig) -> int:
    """Return the channels of P3..P7, which all have as many."""
    return dict(config.widths).get(LEVEL_LAYER, config.fpn_channels)


def cut_outputs(config: ModelConfig, cut: str) -> tuple[TensorSpec, ...]:
    """Return the outputs at a cut, in the model's order.

    `fpn`: the levels P3..P7, each [C,h,w], then the prototypes [h,w,M]. `heads`: what the prediction head makes of the
    levels, loc [A,4], conf logits [A,K+1] and coeffs [A,M], then the prototypes. `boxes`: conf [A,K+1] after softmax,
    boxes [A,4] as xyxy_rel, the coefficients `mask` [A,M], and `proto`. `candidates`: of the best C anchors, best
    first, boxes [C,4] xyxy_rel, scores [C,K+1] after softmax and coeffs [C,M], and `count`: how many of all anchors
    pass the threshold. `detections`: boxes [N,4] xyxy_rel, scores [N], classes [N] from 0 without the background, and
    coeffs [N,M], of which the first `count` rows are detections, best first; the rest are zeros.
    """
    image_size = image_size_px(config)
    grid = proto_size(image_size)
    protos = TensorSpec(PROTOS, (grid, grid, config.proto_channels), config.proto_dtype)
    if cut == HEADS:
        anchors = count_anchors(config)
        last = {"loc": 4, "conf": config.num_classes + 1, COEFFS: config.proto_channels}
        return (*(TensorSpec(name, (anchors, size)) for name, size in last.items()), protos)
    if cut == BOXES:
        anchors = count_anchors(config)
        last = {"conf": config.num_classes + 1, "boxes": 4, "mask": config.proto_channels}
        return (*(TensorSpec(name, (anchors, size)) for name, size in last.items()), replace(protos, name="proto"))
    if cut == CANDIDATES:
        rows, coeffs = candidate_rows(config), TensorSpec(COEFFS, (candidate_rows(config), config.proto_channels))
        boxes, scores = TensorSpec(output_names.BOXES, (rows, 4)), TensorSpec(SCORES, (rows, config.num_classes + 1))
        return (boxes, scores, TensorSpec(COUNT, (1,), "int32"), coeffs, protos)
    if cut == DETECTIONS:
        rows = detection_rows(config)
        return (*detection_outputs(rows), TensorSpec(COEFFS, (rows, config.proto_channels)), protos)
    sizes = level_sizes(image_size)
    levels = (TensorSpec(f"output{i}", (level_channels(config), size, size)) for i, size in enumerate(sizes))
    return (*levels, replace(protos, name=f"output{len(sizes)}"))
