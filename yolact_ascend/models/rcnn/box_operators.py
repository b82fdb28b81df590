"""Which operators of an exported graph compute boxes: half precision moves a corner at 1300 px in steps of 1 px."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolact_ascend.detection.sets import BOXES

if TYPE_CHECKING:
    import onnx

LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
# What pools, and where among its inputs the boxes are: by way of their pyramid level.
BOXES_OF_POOLING = {"RoiAlign": 1, "RoiExtractor": -1}
# They have nothing to keep, or take half precision by themselves.
LEFT_OUT = frozenset({"Constant", "BatchMultiClassNMS"})


def box_operators(graph: onnx.GraphProto) -> list[str]:
    """Return the names of the operators between the network's layers and its boxes, in the graph's order.

    Boxes are the output of that name, and what ROIAlign takes. The layers, whose deltas are small numbers, are not
    among them, nor what pools.
    """
    maker = {output: node for node in graph.node for output in node.output}
    wanted = [BOXES]
    for node in graph.node:
        if node.op_type in BOXES_OF_POOLING:
            wanted.append(node.input[BOXES_OF_POOLING[node.op_type]])
    found: set[str] = set()
    while wanted:
        node = maker.get(wanted.pop())
        if node is None or node.op_type in LAYERS or node.op_type in BOXES_OF_POOLING or node.name in found:
            continue
        found.add(node.name)
        wanted += node.input
    return [node.name for node in graph.node if node.name in found and node.op_type not in LEFT_OUT]
