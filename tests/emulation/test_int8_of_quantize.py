"""What `quantize` writes for Ascend, in the stand-in: layer by layer, the integers of its QDQ model on ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from yolact_ascend.analysis.layers import count_layers
from yolact_ascend.compression.affine import affine_of, quantize_layer
from yolact_ascend.compression.ascend_form import ascend_model
from yolact_ascend.compression.layers import find_layers
from yolact_ascend.compression.qdq import qdq_model
from yolact_ascend.compression.ranges import Range
from yolact_ascend.errors import ArtifactError
from yolact_ascend.models.onnx_metadata import refuse_own_operators

from .conftest import ATC_COMMON, Run

PLAIN = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
ATC = ("--output", "m", *ATC_COMMON, "--precision_mode", "must_keep_origin_dtype")


def network() -> onnx.ModelProto:
    """image [1,20,12,10] -> y [1,5,12,10] and z [1,6]: two convolutions share a tensor, one is transposed; a Gemm."""
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    weights = {"w1": draw(24, 20, 3, 3), "w2": draw(24, 24, 1, 1), "w3": draw(24, 3, 3, 3), "w4": draw(24, 5, 2, 2)}
    weights |= {"b1": draw(24), "b3": draw(24), "b4": draw(5), "w5": draw(6, 24), "b5": draw(6)}
    padded: dict[str, Any] = {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}
    node = helper.make_node
    nodes = [
        node("Conv", ["image", "w1", "b1"], ["c1"], "one", strides=[2, 2], **padded),
        node("Relu", ["c1"], ["a"], "relu"),
        node("Conv", ["a", "w2"], ["c2"], "two", kernel_shape=[1, 1]),
        node("Conv", ["a", "w3", "b3"], ["c3"], "three", group=8, **padded),
        node("Add", ["c2", "c3"], ["sum"], "add"),
        node("ConvTranspose", ["sum", "w4", "b4"], ["y"], "four", strides=[2, 2], kernel_shape=[2, 2]),
        node("GlobalAveragePool", ["sum"], ["pooled"], "pool"),
        node("Flatten", ["pooled"], ["flat"], "flatten"),
        node("Gemm", ["flat", "w5", "b5"], ["z"], "five", transB=1),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [value("image", TensorProto.FLOAT, [1, 20, 12, 10])],
        [value("y", TensorProto.FLOAT, [1, 5, 12, 10]), value("z", TensorProto.FLOAT, [1, 6])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)


def run_model(model: onnx.ModelProto, feeds: dict[str, np.ndarray], *more: str) -> dict[str, np.ndarray]:
    """All outputs, and the tensors called `more`, without ONNX Runtime's own fusions."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    known = {output.name for output in copy.graph.output}
    copy.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in sorted({*more} - known))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = PLAIN
    session = onnxruntime.InferenceSession(copy.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds)))


@pytest.fixture(scope="module")
def written() -> dict[str, Any]:
    """The float model, both forms of it as `quantize` writes them, its layers and an image."""
    model = network()
    image = np.random.default_rng(1).normal(0.3, 1, (1, 20, 12, 10)).astype(np.float32)
    found = find_layers(model)
    inner = [layer.tensor for layer in found if layer.tensor != "image"]
    values = {**run_model(model, {"image": image}, *inner), "image": image}
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    layers = []
    for layer in found:
        affine = affine_of(Range(float(values[layer.tensor].min()), float(values[layer.tensor].max())))
        bias = None if layer.bias is None else weights[layer.bias]
        layers.append(quantize_layer(layer, affine, weights[layer.weight], bias, is_reduced=False))
    forms = {"float": model, "qdq": qdq_model(model, layers), "ascend": ascend_model(model, layers)}
    return {**forms, "layers": layers, "image": image}


def side_by_side(ascend: onnx.ModelProto, shapes: dict[str, tuple[int, ...]]) -> onnx.ModelProto:
    """Each layer of Ascend's form for itself: `<name>/x` -> AscendQuant, the layer, AscendDequant -> `<name>/y`."""
    makers = {node.output[0]: node for node in ascend.graph.node}
    nodes: list[onnx.NodeProto] = []
    for name in shapes:
        layer = next(node for node in ascend.graph.node if node.name == name)
        dequant = next(node for node in ascend.graph.node if layer.output[0] in node.input)
        for node, inner in ((makers[layer.input[0]], "int8"), (layer, "sums"), (dequant, "y")):
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.input[0] = nodes[-1].output[0] if node is not makers[layer.input[0]] else f"{name}/x"
            copy.name = copy.output[0] = f"{name}/{inner}"
            nodes.append(copy)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [value(f"{name}/x", TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [value(f"{name}/y", TensorProto.FLOAT, None) for name in shapes],
        list(ascend.graph.initializer),
    )
    return helper.make_model(graph, opset_imports=ascend.opset_import, ir_version=8)


def compile_model(run: Run, folder: Path, model: onnx.ModelProto, *more: str) -> onnx.ModelProto:
    onnx.save(model, folder / "m.onnx")
    done = run("atc", "--model", "m.onnx", *ATC, *more)
    assert done.code == 0, done.stdout
    return onnx.load_model_from_string((folder / "m.om").read_bytes().split(b"\n", 2)[2])


def test_each_layer_has_the_integers_of_the_qdq_model(written: dict[str, Any], run: Run, tmp_path: Path) -> None:
    """From its int8 inputs: sums are equal; outputs but for the order in which float32 is summed."""
    layers = {layer.layer.name: layer for layer in written["layers"]}
    outputs = {node.name: node.output[0] for node in written["float"].graph.node if node.name in layers}
    int8s = {name: f"{layer.layer.tensor}_int8" for name, layer in layers.items()}
    values = run_model(written["qdq"], {"image": written["image"]}, *int8s.values(), *outputs.values())
    feeds = {}
    for name, layer in layers.items():
        levels = values[int8s[name]].astype(np.int32) - 128  # the QDQ form is uint8
        feeds[f"{name}/x"] = ((levels - layer.input.zero_point) * np.float32(layer.input.scale)).astype(np.float32)
    model = side_by_side(written["ascend"], {name: feeds[f"{name}/x"].shape for name in layers})
    wanted = ";".join(f"{name}/{place}:0" for name in layers for place in ("sums", "y"))
    found = run_model(compile_model(run, tmp_path, model, "--out_nodes", wanted), feeds)
    assert len(found) == 10
    for name, layer in layers.items():
        sums, y, expected = found[f"{name}/sums"], found[f"{name}/y"], values[outputs[name]]
        factor = layer.deq_scale.reshape(-1, *[1] * (y.ndim - 2))
        assert sums.dtype == np.int32
        np.testing.assert_array_equal(sums, np.rint(expected / factor.astype(np.float64)))
        np.testing.assert_array_equal(y, sums.astype(np.float32) * factor)
        np.testing.assert_allclose(y, expected, rtol=0, atol=2**-20 * np.abs(y).max())


def test_the_whole_model_is_as_close_to_float_as_the_qdq_model(
    written: dict[str, Any], run: Run, tmp_path: Path
) -> None:
    """No tolerance for each value: a tie that goes the other way moves what is behind it."""
    compiled = compile_model(run, tmp_path, written["ascend"])
    exact, qdq, ours = (
        run_model(model, {"image": written["image"]}) for model in (written["float"], written["qdq"], compiled)
    )

    def distance(found: dict[str, np.ndarray]) -> float:
        return max(float(np.linalg.norm(found[name] - exact[name]) / np.linalg.norm(exact[name])) for name in exact)

    assert 0 < distance(qdq) < 0.03
    assert distance(ours) < 1.25 * distance(qdq)


def test_who_cannot_open_it_says_which_file_to_take(written: dict[str, Any], tmp_path: Path) -> None:
    onnx.save(written["ascend"], tmp_path / "net_int8_ascend.onnx")
    onnx.save(written["qdq"], tmp_path / "net_int8_qdq.onnx")
    for opened in (refuse_own_operators, count_layers):
        with pytest.raises(ArtifactError, match=r"net_int8_ascend\.onnx is int8 in Ascend's form, .*_int8_qdq\.onnx"):
            opened(tmp_path / "net_int8_ascend.onnx")
        opened(tmp_path / "net_int8_qdq.onnx")
