"""Operators that CANN has and ONNX does not, as standard operators with the same arithmetic.

`BatchMultiClassNMS` and `RoiExtractor`, as ModelZoo's recipes for R-CNN write them. Sources: CANN's ONNX plugins
(batch_multi_class_nms_plugin.cpp and roi_extractor_onnx_plugin.cpp, 2025: an attribute of another type is ignored),
its operator specifications (REG_OP, data types on Atlas inference products), the reference of its own test of
BatchMultiClassNonMaxSuppression (2026), and SingleRoIExtractor of mmdetection, which RoiExtractor states to compute.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, shape_inference

from ascend_emulation.node_builder import NodeBuilder, replace_nodes
from ascend_emulation.onnx_graph import opset_of
from ascend_emulation.precision import PrecisionMode, Width

SUPPRESSION, EXTRACTOR = "BatchMultiClassNMS", "RoiExtractor"
OPERATORS = frozenset({SUPPRESSION, EXTRACTOR})
_OPSET_OF_ALIGNED = 16  # the first at which ONNX' RoiAlign has aligned pooling
_LOWEST = float(np.finfo(np.float32).min)
_LEVEL_EPSILON = 1e-6  # of mmdetection's map_roi_levels


def expand_operators(
    model: onnx.ModelProto, mode: PrecisionMode, soc_version: str, kept: Collection[str] = ()
) -> tuple[str, ...]:
    """Replace these operators in `model`; return the names of the nodes in their place, which are not to be rounded.

    They compute in float32 on what their inputs hold; where `mode` computes in float16, or the inputs are float16, what
    goes in and comes out is rounded to it. `kept` are nodes that stay float32. Raises AtcError E10055 for inputs and
    attributes that CANN's plugins would not take, or whose effect is not known.
    """
    made: list[str] = []
    while True:
        found = next((node for node in model.graph.node if is_fused(node)), None)
        if found is None:
            return tuple(made)
        # The types behind a replaced node are known only now.
        inferred = shape_inference.infer_shapes(model).graph
        values = [*inferred.input, *inferred.value_info]
        types = {value.name: value.type.tensor_type for value in values}
        types.update({tensor.name: _type_of(tensor) for tensor in model.graph.initializer})
        is_half = mode.vector is Width.HALF and found.name not in kept
        builder = _Builder(found, opset_of(model), types=types, is_half=is_half)
        if found.op_type == SUPPRESSION:
            _expand_suppression(builder, soc_version)
        else:
            _expand_extractor(builder)
        place = list(model.graph.node).index(found)
        replace_nodes(model.graph, [*model.graph.node[:place], *builder.nodes, *model.graph.node[place + 1 :]])
        model.graph.initializer.extend(builder.weights)
        made += [node.name for node in builder.nodes]


def is_fused(node: onnx.NodeProto) -> bool:
    """Tell whether a node is one of these operators."""
    return node.domain in ("", "ai.onnx") and node.op_type in OPERATORS


def _type_of(tensor: TensorProto) -> onnx.TypeProto.Tensor:
    return helper.make_tensor_type_proto(tensor.data_type, tensor.dims).tensor_type


@dataclass
class _Builder(NodeBuilder):
    """Nodes in place of one node, with what goes into it and comes out of it in the types of the device."""

    types: dict[str, onnx.TypeProto.Tensor] = field(default_factory=dict)
    is_half: bool = False  # the precision mode rounds what goes in and comes out

    def dtype(self, tensor: str) -> int:
        """The type of an input, float16 or float32."""
        found = self.types[tensor].elem_type if tensor in self.types else TensorProto.UNDEFINED
        if found not in (TensorProto.FLOAT, TensorProto.FLOAT16):
            self.refuse(f"with {tensor} of type {TensorProto.DataType.Name(found)}; it takes FLOAT16 or FLOAT")
        return found

    def dims(self, tensor: str, rank: int, meaning: str) -> list[int]:
        """The sides of an input, 0 where one is free."""
        kind = self.types.get(tensor)
        if kind is None or not kind.HasField("shape") or len(kind.shape.dim) != rank:
            self.refuse(f"whose {tensor} is not known to be {meaning}")
        assert kind is not None
        return [dim.dim_value for dim in kind.shape.dim]

    def take(self, tensor: str) -> str:
        """An input as float32, with the digits that it has on the device."""
        if self.dtype(tensor) == TensorProto.FLOAT and not self.is_half:
            return tensor
        half = tensor if self.dtype(tensor) == TensorProto.FLOAT16 else self.add("Cast", tensor, to=TensorProto.FLOAT16)
        return self.add("Cast", half, to=TensorProto.FLOAT)

    def give(self, tensor: str, place: int, dtype: int) -> None:
        """Make a tensor the output at `place`, in that type."""
        if place < len(self.node.output) and self.node.output[place]:
            if dtype == TensorProto.FLOAT and self.is_half:
                tensor = self.add("Cast", tensor, to=TensorProto.FLOAT16)
            self.add("Cast", tensor, to=dtype)
            self.nodes[-1].output[0] = self.node.output[place]


def _require_half(builder: _Builder, soc_version: str) -> None:
    is_single = builder.dtype(builder.node.input[0]) == TensorProto.FLOAT and not builder.is_half
    if is_single and soc_version.startswith("Ascend310") and not soc_version.startswith("Ascend310B"):
        builder.refuse(
            f"in float32 on {soc_version}, whose kernel takes float16 only. Cast its inputs to float16, as ModelZoo's "
            "recipes do"
        )


def _expand_suppression(b: _Builder, soc_version: str) -> None:
    """boxes [1,N,q,4] and scores [1,N,K] -> boxes [1,T,4], scores [1,T], classes [1,T], and how many there are [1].

    Per class: what scores above the threshold, has an area, and does not overlap a better one too much; the best T of
    all classes, zeros behind them.
    """
    if len(b.node.input) != 2 or not all(b.node.input):
        b.refuse(f"with {len(b.node.input)} inputs; it plays the two of ModelZoo's recipes, boxes and scores")
    _require_half(b, soc_version)
    boxes, scores = b.node.input
    (batch, count, own, corners), (_, _, classes) = b.dims(boxes, 4, "[1,N,q,4]"), b.dims(scores, 3, "[1,N,K]")
    if batch != 1 or not (count and classes) or own not in (1, classes) or corners != 4:
        b.refuse(f"with boxes [{batch},{count},{own},{corners}] and scores of {classes} classes; it plays one image")
    dtype, most = b.dtype(boxes), int(b.attribute("max_total_size", AttributeProto.INT))
    if b.dtype(scores) != dtype:
        b.refuse("whose boxes and scores are of different types")
    limits = [
        b.ints(int(b.attribute("max_size_per_class", AttributeProto.INT))),
        b.constant([b.attribute("iou_threshold", AttributeProto.FLOAT)], np.float32),
        b.constant([b.attribute("score_threshold", AttributeProto.FLOAT)], np.float32),
    ]
    by_class = b.add("Transpose", b.take(boxes), perm=[0, 2, 1, 3])
    by_class = b.add("Reshape", b.add("Expand", by_class, b.ints(1, classes, count, 4)), b.ints(classes, count, 4))
    own_scores = b.add("Reshape", b.add("Transpose", b.take(scores), perm=[0, 2, 1]), b.ints(classes, 1, count))
    axis, zero, lowest = b.ints(2), b.constant(0, np.float32), b.constant(_LOWEST, np.float32)
    high, low = b.add("Slice", by_class, axis, b.ints(4), axis), b.add("Slice", by_class, b.ints(0), axis, axis)
    sides = b.add("Sub", high, low)
    shortest = b.add("Reshape", b.add("ReduceMin", sides, axes=[2], keepdims=0), b.ints(classes, 1, count))
    own_scores = b.add("Where", b.add("Greater", shortest, zero), own_scores, lowest)
    rows = b.add("NonMaxSuppression", by_class, own_scores, *limits)  # (class, 0, box)
    group, box = (b.add("Gather", rows, b.constant(column, np.int64), axis=1) for column in (0, 2))
    ids = b.add("Add", b.add("Mul", group, b.ints(count)), box)
    found = b.add("Gather", b.add("Reshape", own_scores, b.ints(-1)), ids, axis=0)
    padded = b.add("Concat", found, b.constant([_LOWEST] * most, np.float32), axis=0)
    best, places = b.add_several("TopK", 2, padded, b.ints(most), axis=0)
    ids = b.add("Gather", b.add("Concat", ids, b.ints(*[-1] * most), axis=0), places, axis=0)
    is_real = b.add("Reshape", b.add("Greater", ids, b.ints(-1)), b.ints(most))
    ids = b.add("Where", is_real, b.add("Reshape", ids, b.ints(most)), b.constant(0, np.int64))
    chosen = b.add("Gather", b.add("Reshape", by_class, b.ints(-1, 4)), ids, axis=0)
    chosen = b.add("Where", b.add("Reshape", is_real, b.ints(most, 1)), chosen, zero)
    class_ids = b.add("Cast", b.add("Div", ids, b.ints(count)), to=TensorProto.FLOAT)
    number = b.add("ReduceSum", b.add("Cast", is_real, to=TensorProto.INT32))
    b.give(b.add("Reshape", chosen, b.ints(1, most, 4)), 0, dtype)
    for place, values in ((1, b.add("Reshape", best, b.ints(most))), (2, class_ids)):
        b.give(b.add("Reshape", b.add("Where", is_real, values, zero), b.ints(1, most)), place, dtype)
    b.give(number, 3, TensorProto.INT32)


def _expand_extractor(b: _Builder) -> None:
    """Levels [B,C,h,w] and rois [N,5] (image, corners in px) -> [N,C,height,width]: ROIAlign on the level of each."""
    *levels, rois = b.node.input
    scales = b.attribute("spatial_scale", AttributeProto.FLOATS, [1 / 4, 1 / 8, 1 / 16, 1 / 32])
    count, channels = b.dims(rois, 2, "[N,5]")[0], b.dims(levels[0], 4, "[B,C,h,w]")[1]
    if len(scales) != len(levels) or not (count and channels):
        b.refuse(f"with {len(levels)} levels, {len(scales)} scales and rois [{count},5]")
    if b.attribute("pool_mode", AttributeProto.STRING, b"avg") != b"avg":
        b.refuse('with a pool_mode other than "avg"')
    if b.attribute("roi_scale_factor", AttributeProto.FLOAT, 0.0):
        b.refuse("with a roi_scale_factor")
    is_aligned = bool(b.attribute("aligned", AttributeProto.INT, 1))
    if is_aligned and b.opset < _OPSET_OF_ALIGNED:
        b.refuse(f"with aligned=1 at opset {b.opset}; it does from opset {_OPSET_OF_ALIGNED} on")
    height, width = (int(b.attribute(f"pooled_{side}", AttributeProto.INT, 7)) for side in ("height", "width"))
    modes = {False: "output_half_pixel", True: "half_pixel"}
    attributes = {"coordinate_transformation_mode": modes[is_aligned]} if b.opset >= _OPSET_OF_ALIGNED else {}
    dtype, boxes = b.dtype(rois), b.take(rois)
    ids = b.add("Gather", boxes, b.constant(0, np.int64), axis=1)
    ids, corners = b.add("Cast", ids, to=TensorProto.INT64), b.add("Slice", boxes, b.ints(1), b.ints(5), b.ints(1))
    of_roi = _levels_of(b, corners, len(levels))
    rows, pooled = [], []
    for i, (level, scale) in enumerate(zip(levels, scales)):
        of_level = b.add("NonZero", b.add("Equal", of_roi, b.constant(i, np.float32)))
        rows.append(b.add("Reshape", of_level, b.ints(-1)))
        inputs = b.take(level), *(b.add("Gather", tensor, rows[-1], axis=0) for tensor in (corners, ids))
        sizes = {"output_height": height, "output_width": width, "spatial_scale": float(scale)}
        samples = int(b.attribute("sample_num", AttributeProto.INT, 0))
        pooled.append(b.add("RoiAlign", *inputs, mode="avg", sampling_ratio=samples, **sizes, **attributes))
    order, numbers = b.add("Concat", *rows, axis=0), b.ints(*range(count))
    places = b.add("ScatterElements", b.ints(*[0] * count), order, numbers, axis=0)
    found = b.add("Gather", b.add("Concat", *pooled, axis=0), places, axis=0)
    b.give(b.add("Reshape", found, b.ints(count, channels, height, width)), 0, dtype)


def _levels_of(b: _Builder, corners: str, count: int) -> str:
    """Return the level of each box [N,4], float32 [N]: that of `finest_scale` px, and one more for each doubling."""
    axis, zero = b.ints(1), b.constant(0, np.float32)
    sides = b.add(
        "Sub",
        b.add("Slice", corners, b.ints(2), b.ints(4), axis),
        b.add("Slice", corners, b.ints(0), b.ints(2), axis),
    )
    sides = b.add("Max", sides, zero)
    width, height = (b.add("Gather", sides, b.constant(column, np.int64), axis=1) for column in (0, 1))
    finest = b.constant(b.attribute("finest_scale", AttributeProto.INT, 56), np.float32)
    times = b.add("Div", b.add("Sqrt", b.add("Mul", width, height)), finest)
    doublings = b.add("Log", b.add("Add", times, b.constant(_LEVEL_EPSILON, np.float32)))
    level = b.add("Floor", b.add("Div", doublings, b.constant(math.log(2), np.float32)))
    return b.add("Min", b.add("Max", level, zero), b.constant(count - 1, np.float32))
