"""The forms of an INT8 model: QDQ, Ascend's and AMCT's record hold the same integers, as their readers take them."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
from graphs import SIZE, attributes, write_chain
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from yolact_ascend.compression.ascend_form import ascend_model
from yolact_ascend.compression.layers import Layer, find_layers, last_layers, require_float
from yolact_ascend.compression.qdq import qdq_model
from yolact_ascend.compression.ranges import Histogram
from yolact_ascend.compression.recipe import QuantizeRecipe
from yolact_ascend.compression.record import format_record
from yolact_ascend.compression.table import Table, ascend_reasons, float_reasons
from yolact_ascend.errors import ArtifactError, UsageError

RECIPE = QuantizeRecipe(method="minmax")
HIGH = {"image": 255.0, "relu0": 600.0, "relu1": 600.0}
NAMES = ["conv0", "conv1", "left", "right"]


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """A float model, its table with made-up ranges, and both forms with conv0 in float32."""
    path = write_chain(tmp_path_factory.mktemp("chain") / "chain.onnx")
    model = onnx.load(path)
    nothing = np.zeros(1), np.zeros(2)
    table = Table(model, {name: Histogram(*nothing, 0.0, high) for name, high in HIGH.items()}, RECIPE)
    layers = table.quantized("minmax", {"conv0"})
    return SimpleNamespace(
        path=path, table=table, layers=layers, qdq=qdq_model(model, layers), ascend=ascend_model(model, layers)
    )


def values_of(model):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def producers(model):
    return {output: node for node in model.graph.node for output in node.output}


def test_each_layer_reads_its_tensor_and_knows_its_channels(chain):
    layers = chain.table.layers
    assert [layer.name for layer in layers] == NAMES
    assert layers[1] == Layer("conv1", "Conv", "relu0", "conv1.weight", "conv1.bias", 20)
    assert last_layers(chain.table.model, layers) == {"left", "right"}
    assert float_reasons(layers, RECIPE, chain.path) == {}
    reasons = ascend_reasons(chain.table.quantized("minmax", ()))
    assert reasons == {"conv0": "3 input channels: ATC computes it in float"}


@pytest.mark.parametrize(
    ("high", "is_float"), [(255 / 65504, False), (255 / 65536, True), (255 * 2.0**14, False), (255 * 2.0**15, True)]
)
def test_a_scale_that_float16_cannot_invert_stays_float_on_ascend(chain, high, is_float):
    """AscendQuant casts 1/scale to float16, whose numbers end at 65504: hicann/ops-nn @ e5c3fa9."""
    histogram = Histogram(np.zeros(1), np.zeros(2), 0.0, high)
    table = Table(chain.table.model, dict.fromkeys(HIGH, histogram), RECIPE)
    found = ascend_reasons(table.quantized("minmax", ()))
    assert set(found) == (set(NAMES) if is_float else {"conv0"})
    assert not is_float or "beyond the float16" in found["left"]


def test_the_recipe_keeps_nodes_by_name_and_an_unknown_name_is_one_sentence(chain):
    recipe = replace(RECIPE, keep_float=("left",))
    assert float_reasons(chain.table.layers, recipe, chain.path) == {"left": "the recipe's keep_float"}
    with pytest.raises(UsageError, match="keeps lfet in float32, which is no layer of"):
        float_reasons(chain.table.layers, replace(RECIPE, keep_float=("lfet",)), chain.path)


def test_a_tensor_is_quantised_once_whatever_reads_it(chain):
    """Requantisation is fused only where every consumer is one AscendQuant: int8_and_pruning, section 1."""
    for model, kind in ((chain.qdq, "QuantizeLinear"), (chain.ascend, "AscendQuant")):
        assert [node.input[0] for node in model.graph.node if node.op_type == kind] == ["relu0", "relu1"]


def test_ascend_quant_has_float_attributes(chain):
    """ATC's parser ignores `scale` and `offset` unless they are FLOAT (ops-nn, ascend_quant_onnx_plugin)."""
    first, _ = (node for node in chain.ascend.graph.node if node.op_type == "AscendQuant")
    kinds = {each.name: each.type for each in first.attribute}
    assert kinds == {
        "scale": AttributeProto.FLOAT,
        "offset": AttributeProto.FLOAT,
        "round_mode": AttributeProto.STRING,
    }
    found = attributes(first)
    assert found["scale"] == pytest.approx(255 / 600) and found["offset"] == -128 and found["round_mode"] == b"Round"


def test_ascends_form_has_what_its_parser_reads(chain):
    nodes, values = chain.ascend.graph.node, values_of(chain.ascend)
    dequants = [node for node in nodes if node.op_type == "AscendDequant"]
    by_output = producers(chain.ascend)
    assert [attributes(node) for node in dequants] == [{"dtype": 0}] * 3
    for node in dequants:
        conv = by_output[node.input[0]]
        assert [values[name].dtype for name in conv.input[1:]] == [np.int8, np.int32]
        packed = values[node.input[1]]
        assert packed.dtype == np.uint64 and packed.shape == (len(values[conv.input[2]]),) and not (packed >> 32).any()
    assert {node.domain for node in nodes} == {""}
    assert [entry.version for entry in chain.ascend.opset_import] == [11]


@pytest.mark.parametrize(("form", "mark"), [("qdq", {"int8_qdq": "1"}), ("ascend", {"operators": "int8"})])
def test_nodes_are_in_topological_order_and_nothing_is_left_over(chain, form, mark):
    model = getattr(chain, form)
    known = {"image", *values_of(model)}
    for node in model.graph.node:
        assert set(node.input) <= known
        known |= set(node.output)
    used = {name for node in model.graph.node for name in node.input}
    assert set(values_of(model)) <= used
    assert {entry.key: entry.value for entry in model.metadata_props} == {"origin": "graphs.py", **mark}


def test_ascends_form_holds_the_integers_of_the_qdq_form(chain):
    """Everything of the one can be computed from the other, bit for bit."""
    qdq, ascend = values_of(chain.qdq), values_of(chain.ascend)
    by_output, by_name = producers(chain.qdq), {node.name: node for node in chain.ascend.graph.node}
    convs = [node for node in chain.qdq.graph.node if node.name in NAMES[1:]]
    assert len(convs) == 3
    for conv in convs:
        other = by_name[conv.name]
        activation, weight, bias = (by_output[name] for name in conv.input)
        for theirs, name in ((weight, other.input[1]), (bias, other.input[2])):
            np.testing.assert_array_equal(qdq[theirs.input[0]], ascend[name])
        scale, zero = (qdq[name] for name in activation.input[1:])
        quant = attributes(producers(chain.ascend)[other.input[0]])
        assert np.float32(quant["scale"]) == np.float32(1) / scale and quant["offset"] == int(zero) - 128
        dequant = by_name[f"{conv.name}_dequantize"]
        bits = ascend[dequant.input[1]].astype(np.uint32).view(np.float32)
        np.testing.assert_array_equal(bits, qdq[bias.input[1]])
        np.testing.assert_array_equal(bits, scale * qdq[weight.input[1]])


def test_the_record_holds_the_scales_of_each_layer(chain):
    """The text form of ScaleOffsetRecord: hicann/amct @ 2be20da, docs/zh/context/record.md."""
    text = format_record(chain.layers)
    assert text.count("record {") == 3 and text.startswith('record {\n  key: "conv1"\n  value {\n    scale_d: 2.3529')
    assert text.count("scale_w: ") == text.count("offset_w: 0") == 24 + 20 + 20
    assert text.count("{") == text.count("}")


def test_the_qdq_form_computes_nearly_what_the_float_model_does(chain):
    image = np.random.default_rng(2).uniform(0, 255, (2, 3, SIZE, SIZE)).astype(np.float32)
    expected, found = (
        onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"image": image})
        for model in (chain.table.model, chain.qdq)
    )
    for one, other in zip(expected, found):
        assert np.abs(one - other).max() < 0.03 * np.abs(one).max()  # 8 bits, over two layers


@pytest.mark.parametrize("form", ["qdq", "ascend"])
def test_a_quantised_model_is_refused(chain, form):
    with pytest.raises(ArtifactError, match=r"chain.onnx is quantised already: it has .*Quant"):
        require_float(getattr(chain, form), chain.path)


def test_a_model_without_layers_is_refused(chain):
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [], [])
    with pytest.raises(ArtifactError, match="no layer to quantise"):
        require_float(helper.make_model(graph), chain.path)


KINDS = [
    pytest.param(
        "Conv", (1, 8, 6, 6), (12, 4, 3, 3), 12, {"group": 2, "pads": [1, 1, 1, 1]}, id="convolution in groups"
    ),
    pytest.param("ConvTranspose", (1, 8, 6, 6), (8, 12, 2, 2), 12, {"strides": [2, 2]}, id="transposed"),
    pytest.param("Gemm", (5, 32), (12, 32), 12, {"transB": 1}, id="dense"),
    pytest.param("MatMul", (5, 32), (32, 12), None, {}, id="product"),
]


@pytest.mark.parametrize(("kind", "shape", "weight_shape", "biases", "options"), KINDS)
def test_each_kind_of_layer_computes_nearly_what_it_did(kind, shape, weight_shape, biases, options):
    generator = np.random.default_rng(0)
    tensors = [numpy_helper.from_array(generator.normal(0, 1, weight_shape).astype(np.float32), "w")]
    if biases is not None:
        tensors.append(numpy_helper.from_array(generator.normal(0, 1, biases).astype(np.float32), "b"))
    node = helper.make_node(kind, ["x", *(tensor.name for tensor in tensors)], ["y"], **options)
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in (("x", shape), ("y", None))
    ]
    graph = helper.make_graph([node], "g", values[:1], values[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
    table = Table(model, {"x": Histogram(np.zeros(1), np.zeros(2), -3.0, 3.0)}, RECIPE)
    quantized = qdq_model(model, table.quantized("minmax", ()))
    feed = {"x": generator.uniform(-3, 3, shape).astype(np.float32)}
    expected, found = (
        onnxruntime.InferenceSession(each.SerializeToString()).run(None, feed)[0] for each in (model, quantized)
    )
    assert [node.op_type for node in quantized.graph.node].count("DequantizeLinear") == 1 + len(tensors)
    assert 0 < np.abs(expected - found).max() < 0.02 * np.abs(expected).max()  # 8 bits


LAYER_TABLE = [
    pytest.param("Conv", (20, 5, 1, 1), {"group": 4}, 20, id="groups"),
    pytest.param("ConvTranspose", (24, 8, 2, 2), {}, 24, id="transposed"),
    pytest.param("ConvTranspose", (24, 8, 2, 2), {"group": 2}, None, id="transposed in groups"),
    pytest.param("Gemm", (10, 32), {"transB": 1}, 32, id="dense"),
    pytest.param("Gemm", (32, 10), {"transA": 1}, None, id="dense, transposed input"),
    pytest.param("Gemm", (32, 10), {"alpha": 0.5}, None, id="dense, scaled"),
    pytest.param("MatMul", (32, 10), {}, 32, id="product"),
    pytest.param("MatMul", (2, 32, 10), {}, None, id="batch of products"),
    pytest.param("Add", (32, 10), {}, None, id="no layer"),
]


@pytest.mark.parametrize(("kind", "shape", "options", "channels"), LAYER_TABLE)
def test_which_nodes_can_be_int8(kind, shape, options, channels):
    """hicann/ge @ ffdcbc9, quantization_layers_constraints.md."""
    weight = numpy_helper.from_array(np.ones(shape, np.float32), "w")
    node = helper.make_node(kind, ["x", "w"], ["y"], **options)
    found = find_layers(helper.make_model(helper.make_graph([node], "g", [], [], [weight])))
    assert [layer.input_channels for layer in found] == ([] if channels is None else [channels])
    assert [layer.name for layer in found] == ["y"] * len(found)  # a node without a name goes by its output
