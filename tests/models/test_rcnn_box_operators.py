"""Which operators of a graph stay float32, because they compute boxes."""

import pytest
from onnx import TensorProto, helper

from yolact_ascend.models.rcnn.box_operators import box_operators


@pytest.mark.parametrize("pooling", ["RoiAlign", "RoiExtractor"])
def test_they_lie_between_the_layers_and_the_boxes_and_before_pooling(pooling):
    level = {"RoiAlign": ["levels", "half_px", "ids"], "RoiExtractor": ["levels", "half_px"]}[pooling]
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["levels"], "conv"),
        helper.make_node("Constant", [], ["anchors"], "anchors", value_float=1.0),
        helper.make_node("Exp", ["levels"], ["sizes"], "exp"),
        helper.make_node("Mul", ["sizes", "anchors"], ["proposals"], "decode"),
        helper.make_node("Mul", ["proposals", "anchors"], ["half_px"], "of the pooling alone"),
        helper.make_node(pooling, level, ["pooled"], "pool"),
        helper.make_node("Relu", ["pooled"], ["features"], "relu"),
        helper.make_node("Gemm", ["features", "v"], ["deltas"], "gemm"),
        helper.make_node("Add", ["deltas", "proposals"], ["boxes"], "add"),
        helper.make_node("Sigmoid", ["features"], ["masks"], "sigmoid"),
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("boxes", "masks")]
    graph = helper.make_graph(nodes, "g", [], outputs)
    assert box_operators(graph) == ["exp", "decode", "of the pooling alone", "add"]
