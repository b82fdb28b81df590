"""Which operators of an exported graph choose anchors: float16 counts to 2048 only, and moves boxes by 0.05 %."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolact_ascend.detection.output_names import BOXES, CLASSES, COUNT, SCORES
from yolact_ascend.models.float32_operators import operators_behind
from yolact_ascend.models.yolact.cuts import STRIDES

if TYPE_CHECKING:
    import onnx


def choosing_operators(graph: onnx.GraphProto) -> list[str]:
    """Return the names of the operators behind the heads of a graph that ends in candidates or detections, else none.

    They begin behind what joins the anchors of the levels.
    """
    outputs = {output.name for output in graph.output}
    if COUNT not in outputs:
        return []

    def joins_levels(node: onnx.NodeProto) -> bool:
        return node.op_type == "Concat" and len(node.input) == len(STRIDES)

    wanted = [name for name in (BOXES, SCORES, CLASSES, COUNT) if name in outputs]
    return operators_behind(graph, wanted, joins_levels)
