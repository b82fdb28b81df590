"""Which operators of an exported graph compute boxes: half precision moves a corner at 1300 px in steps of 1 px."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolact_ascend.detection.output_names import BOXES
from yolact_ascend.models.float32_operators import operators_behind

if TYPE_CHECKING:
    import onnx

# What pools, and where among its inputs the boxes are: by way of their pyramid level.
BOXES_OF_POOLING = {"RoiAlign": 1, "RoiExtractor": -1}


def box_operators(graph: onnx.GraphProto) -> list[str]:
    """Return the names of the operators between the network's layers and its boxes, in the graph's order.

    Boxes are the output of that name, and what ROIAlign takes. The layers, whose deltas are small numbers, are not
    among them, nor what pools.
    """
    wanted = [BOXES]
    for node in graph.node:
        if node.op_type in BOXES_OF_POOLING:
            wanted.append(node.input[BOXES_OF_POOLING[node.op_type]])
    return operators_behind(graph, wanted, lambda node: node.op_type in BOXES_OF_POOLING)
