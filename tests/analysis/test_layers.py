"""MAC, FLOP and parameters of layers: counted by hand on a small graph, and against what others published."""

import dataclasses
import json

import numpy as np
import onnx
import pytest
from factories import TINY_CONFIG
from onnx import TensorProto, helper, numpy_helper

from yolact_ascend.analysis.layers import count_layers, count_others, format_layers, layers_to_json, totals_of
from yolact_ascend.cli import main
from yolact_ascend.errors import ArtifactError
from yolact_ascend.models.config import CONFIGS
from yolact_ascend.models.network_layers import count_network, whole_cut


def save(path, nodes, inputs, weights, opset=16, domains=()):
    """Write a graph of float inputs and weights, by their shapes; its last node's output is the graph's."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    result = onnx.ValueInfoProto(name=nodes[-1].output[0])
    result.type.tensor_type.elem_type = TensorProto.FLOAT
    tensors = [
        numpy_helper.from_array(np.ones(value, np.float32) if isinstance(value, list) else value, name)
        for name, value in weights.items()
    ]
    graph = helper.make_graph(nodes, "g", values, [result], tensors)
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.fixture
def small(tmp_path):
    """Two groups of 3x3 at stride 2, a transposed 2x2, the first again, then rows by columns."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w", "b"], ["a"], "first", strides=[2, 2], pads=[1, 1, 1, 1], group=2),  # [1,6,4,4]
        node("Relu", ["a"], ["r"]),
        node("ConvTranspose", ["r", "t"], ["u"], "up", strides=[2, 2]),  # [1,4,8,8]
        node("Conv", ["u", "w", "b"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1], group=2),  # [1,6,4,4], no name
        node("Reshape", ["c", "shape"], ["rows"]),  # [6,16]
        node("Gemm", ["rows", "g", "gb"], ["e"], "columns", transA=1, transB=1),  # [16,5]
        node("Transpose", ["e"], ["f"], perm=[1, 0]),  # [5,16]
        node("MatMul", ["f", "rows_t"], ["last"], "last"),
    ]
    nodes.insert(5, node("Transpose", ["rows"], ["rows_t"], perm=[1, 0]))  # [16,6]
    weights = {"w": [6, 2, 3, 3], "b": [6], "t": [6, 4, 2, 2], "g": [5, 6], "gb": [5], "shape": np.array([6, 16])}
    return save(tmp_path / "small.onnx", nodes, {"x": [1, 4, 8, 8]}, weights)


def test_layers_are_counted_as_by_hand(small):
    layers = count_layers(small)
    assert [(layer.name, layer.operator, layer.output_shape, layer.macs) for layer in layers] == [
        ("first", "Conv", (1, 6, 4, 4), 6 * 4 * 4 * (2 * 3 * 3)),  # 2 of 4 channels a group
        ("up", "ConvTranspose", (1, 4, 8, 8), 6 * 4 * 4 * (4 * 2 * 2)),  # each input value is spread over 4 * 2 * 2
        ("Conv_3", "Conv", (1, 6, 4, 4), 6 * 4 * 4 * (2 * 3 * 3)),
        ("columns", "Gemm", (16, 5), 16 * 5 * 6),
        ("last", "MatMul", (5, 6), 5 * 6 * 16),
    ]
    assert [(layer.parameters, layer.is_shared) for layer in layers] == [
        (6 * 2 * 9 + 6, False),
        (6 * 4 * 4, False),
        (6 * 2 * 9 + 6, True),
        (5 * 6 + 5, False),
        (0, False),  # both are computed
    ]
    macs = 2 * 1728 + 1536 + 480 + 480
    assert totals_of(layers) == {"macs": macs, "flop": 2 * macs, "parameters": 114 + 96 + 35}
    assert all(layer.flop == 2 * layer.macs for layer in layers)


def test_the_table_and_the_json_have_each_layer_and_the_totals(small):
    layers = count_layers(small)
    text = format_layers(layers, "small.onnx", {"LSTM": 2})
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    assert rows[0] == ["layer", "operator", "output", "parameters", "MMAC", "GFLOP"]
    assert rows[2] == ["first", "Conv", "1x6x4x4", "114", "0.002", "0.0000"]
    assert rows[4][3] == "shared" and rows[-1] == ["total", "", "", "245", "0.006", "0.0000"]
    assert "small.onnx; 5 layers, one image." in text and text.endswith("Not counted: LSTM (2).")
    value = layers_to_json(layers, "small.onnx", {})
    assert json.loads(json.dumps(value)) == value and value["macs"] == 5952 and len(value["layers"]) == 5


def test_sizes_that_are_computed_from_shapes_and_a_free_batch_are_followed(tmp_path):
    """As the exporter writes an upsampling to the size of another tensor."""
    node = helper.make_node
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Slice", ["s", "zero", "two"], ["front"]),
        node("Constant", [], ["size"], value=numpy_helper.from_array(np.array([7, 9]))),
        node("Concat", ["front", "size"], ["sizes"], axis=0),
        node("Resize", ["x", "", "", "sizes"], ["y"]),
        node("Conv", ["y", "w"], ["z"], "conv"),
    ]
    weights = {"w": [5, 3, 1, 1], "zero": np.array([0]), "two": np.array([2])}
    path = save(tmp_path / "m.onnx", nodes, {"x": ["batch", 3, 4, 4]}, weights, opset=11)
    (layer,) = count_layers(path)
    assert (layer.output_shape, layer.macs) == ((1, 5, 7, 9), 5 * 7 * 9 * 3)


def test_a_quantised_models_weights_are_its_parameters(tmp_path):
    node = helper.make_node
    nodes = [
        node("DequantizeLinear", ["q", "scale"], ["w"]),
        node("Conv", ["x", "w"], ["y"], "conv"),
    ]
    weights = {"q": np.ones((5, 3, 1, 1), np.int8), "scale": np.array(0.5, np.float32)}
    (layer,) = count_layers(save(tmp_path / "m.onnx", nodes, {"x": [1, 3, 4, 4]}, weights))
    assert (layer.parameters, layer.macs) == (15, 5 * 16 * 3)


def test_what_is_not_counted_is_named(tmp_path):
    node = helper.make_node
    inner = helper.make_graph(
        [node("MatMul", ["x", "x"], ["inside"])],
        "branch",
        [],
        [helper.make_tensor_value_info("inside", TensorProto.FLOAT, [4, 4])],
    )
    nodes = [
        node("Einsum", ["x", "x"], ["y"], equation="ij,jk->ik"),
        node("If", ["yes"], ["z"], then_branch=inner, else_branch=inner),
    ]
    path = save(tmp_path / "m.onnx", nodes, {"x": [4, 4]}, {"yes": np.array(True)})
    assert (count_layers(path), count_others(path)) == ([], {"Einsum": 1, "If": 1})


@pytest.mark.parametrize(
    ("nodes", "shape", "said"),
    [
        ([("Conv", ["x", "w"])], ["batch", 3, "height", 4], "its input x is of any size along axis 2"),
        (
            [("NonZero", ["x"]), ("MatMul", ["NonZero", "x"])],
            [4, 4],
            "the shape of NonZero, of MatMul_1, is not static",
        ),
        ([("Conv", ["x", "w"])], [1, 3, 4], "the shape of Conv, of Conv_0, is not static"),
    ],
    ids=["free", "found", "wrong"],
)
def test_shapes_that_are_not_static_are_refused(tmp_path, nodes, shape, said):
    made = [helper.make_node(operator, inputs, [operator]) for operator, inputs in nodes]
    path = save(tmp_path / "m.onnx", made, {"x": shape}, {"w": [5, 3, 1, 1]})
    with pytest.raises(ArtifactError, match=said):
        count_layers(path)


def test_a_network_counts_what_its_onnx_counts(tiny_onnx, tiny_heads_onnx):
    """The one by PyTorch's modules, the other by the exported graph."""
    for path, cut in ((tiny_onnx, "fpn"), (tiny_heads_onnx, "heads")):
        network, graph = count_network(TINY_CONFIG, cut), count_layers(path)
        key = [(layer.operator, layer.output_shape, layer.macs) for layer in network]
        assert sorted(key) == sorted((layer.operator, layer.output_shape, layer.macs) for layer in graph)
        assert len(key) > 30


def test_yolact_has_the_flop_that_open_model_zoo_states():
    """118.575 GFlops: openvinotoolkit/open_model_zoo @ 7ef5b91f7, models/public/yolact-resnet50-fpn-pytorch/README.md.

    It counts activations and softmax, too, which are 0.2 % here.
    """
    config = CONFIGS["yolact_resnet50_config"]
    flop = totals_of(count_network(config, whole_cut(config)))["flop"]
    assert 0.995 * 118.575e9 < flop < 118.575e9


def on_canvas(name, height, width):
    config = CONFIGS[name]
    size = dataclasses.replace(config.preprocessing, height_px=height, width_px=width)
    return dataclasses.replace(config, preprocessing=size)


def test_faster_rcnn_has_the_figures_of_detectron2s_own_test():
    """At 800x800: 117 G of convolutions, multiply-adds as fvcore counts, and 41699936 parameters.

    facebookresearch/detectron2 @ 02b5c4e2, tests/test_model_analysis.py. Its random image has no proposals, so its
    heads are not in the first figure.
    """
    layers = count_network(on_canvas("faster_rcnn_R_50_FPN_1x", 800, 800), "detections")
    macs = sum(layer.macs for layer in layers if layer.operator == "Conv")
    assert int(macs / 1e9) == 117
    assert totals_of(layers)["parameters"] == 41699936


def test_heads_on_regions_count_for_the_regions_of_the_graph():
    """1000 proposals and 100 masks, whatever is in the image."""
    layers = {layer.name: layer for layer in count_network(on_canvas("mask_rcnn_R_50_FPN_3x", 96, 64), "detections")}
    first = layers["roi_heads.box_head.fc1"]
    assert (first.operator, first.output_shape, first.macs) == ("Gemm", (1000, 1024), 1000 * 1024 * 256 * 49)
    assert layers["roi_heads.mask_head.mask_fcn1"].macs == 100 * 256 * 14 * 14 * 256 * 9
    up = layers["roi_heads.mask_head.deconv"]
    assert (up.operator, up.macs) == ("ConvTranspose", 100 * 256 * 14 * 14 * 256 * 4)


def test_the_verb_lists_the_layers_of_a_config_and_of_a_file(small, capsys):
    assert main.main(["cuts", "--layers", "--config=yolact_edge_demo_config", "--cut=fpn"]) == 0
    text = capsys.readouterr().out
    assert "| proto_net.0 " in text and "| prediction_layers" not in text
    assert "yolact_edge_demo_config, 8 classes, 550x550, up to cut fpn; 61 layers, one image." in text
    assert main.main(["cuts", "--layers", f"--model={small}", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["of"], value["flop"]) == (str(small), 2 * 5952)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model=m.onnx"], "--model=m.onnx is for --layers. Pass --layers"),
        (["--cut=fpn"], "--cut=fpn is for --layers"),
        (["--layers", "--model=m.onnx", "--cut=fpn"], "--cut beside --model: the ONNX is counted as it is"),
        (["--layers", "--model=none.onnx"], "none.onnx cannot be read as ONNX"),
        (["--layers", "--config=mask_rcnn_R_50_FPN_3x", "--cut=fpn"], "--cut=fpn: expected detections"),
    ],
)
def test_flags_that_do_not_fit_are_refused(words, said, capsys):
    assert main.main(["cuts", *words]) == (1 if "none.onnx" in said else 2)
    assert said in capsys.readouterr().err
