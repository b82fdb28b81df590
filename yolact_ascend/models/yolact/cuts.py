"""Where a YOLACT graph may end, the tensors at each cut, and the sizes that follow from the size of the input."""

from __future__ import annotations

from yolact_ascend.models.config import ModelConfig
from yolact_ascend.tensors import TensorSpec

# Before the prediction heads, as in Ascend ModelZoo's YolactEdge guide; after them; or with scores and boxes, by the
# names that Open Model Zoo's YOLACT adapter takes.
FPN, HEADS, BOXES = "fpn", "heads", "boxes"
CUTS = (FPN, HEADS, BOXES)
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


def level_channels(config: ModelConfig) -> int:
    """Return the channels of P3..P7, which all have as many."""
    return dict(config.widths).get(LEVEL_LAYER, config.fpn_channels)


def cut_outputs(config: ModelConfig, cut: str) -> tuple[TensorSpec, ...]:
    """Return the outputs at a cut, in the model's order.

    `fpn`: the levels P3..P7, each [C,h,w], then the prototypes [h,w,M]. `heads`: what the prediction head makes of the
    levels, loc [A,4], conf logits [A,K+1] and coeffs [A,M], then the prototypes. `boxes`: conf [A,K+1] after softmax,
    boxes [A,4] as xyxy_rel, the coefficients `mask` [A,M], and `proto`.
    """
    image_size = image_size_px(config)
    grid = proto_size(image_size)
    protos = (grid, grid, config.proto_channels)
    if cut == HEADS:
        anchors = count_anchors(config)
        last = {"loc": 4, "conf": config.num_classes + 1, "coeffs": config.proto_channels}
        return (*(TensorSpec(name, (anchors, size)) for name, size in last.items()), TensorSpec("protos", protos))
    if cut == BOXES:
        anchors = count_anchors(config)
        last = {"conf": config.num_classes + 1, "boxes": 4, "mask": config.proto_channels}
        return (*(TensorSpec(name, (anchors, size)) for name, size in last.items()), TensorSpec("proto", protos))
    sizes = level_sizes(image_size)
    levels = (TensorSpec(f"output{i}", (level_channels(config), size, size)) for i, size in enumerate(sizes))
    return (*levels, TensorSpec(f"output{len(sizes)}", protos))
