"""What --precision_mode and --keep_dtype do to numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from .conftest import ATC_COMMON, Run, small_model, two_input_model

Node = onnx.NodeProto
Compile = Callable[..., onnx.ModelProto]


def model_of(
    nodes: list[Node], shape: tuple[int, ...], outputs: list[str], opset: int = 11, **weights: np.ndarray
) -> onnx.ModelProto:
    """A model whose input is called x; ONNX infers the shapes of its outputs."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


@pytest.fixture
def compile_model(run: Run, tmp_path: Path) -> Compile:
    """Run atc on a model with more flags; returns the ONNX model inside the .om."""

    def compile_with(model: onnx.ModelProto, *flags: str, soc: str = "Ascend310P3") -> onnx.ModelProto:
        onnx.save(model, tmp_path / "m.onnx")
        words = ["--model", "m.onnx", "--output", "m", "--framework", "5", "--soc_version", soc, *flags]
        result = run("atc", *words)
        assert result.code == 0, result.stdout + result.stderr
        return onnx.load_model_from_string((tmp_path / "m.om").read_bytes().split(b"\n", 2)[2])

    return compile_with


def execute(model: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    """All outputs, with every optimisation that the emulated aclruntime lets ONNX Runtime make."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})


def half(values: np.ndarray | float) -> np.ndarray:
    """float32 values that went through float16."""
    return np.asarray(values, np.float16).astype(np.float32)


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


X = np.array([[0.1, -1 / 3]], np.float32)
WEIGHT = np.array([[0.7, 1.1], [1.3, -0.9]], np.float32)
FACTOR = np.array([1.7, 2.3], np.float32)


def matmul_then_multiply() -> onnx.ModelProto:
    """x [1,2] -> MatMul_0 -> product [1,2] -> Mul_0 -> y [1,2]."""
    nodes = [
        helper.make_node("MatMul", ["x", "weight"], ["product"], name="MatMul_0"),
        helper.make_node("Mul", ["product", "factor"], ["y"], name="Mul_0"),
    ]
    return model_of(nodes, (1, 2), ["product", "y"], weight=WEIGHT, factor=FACTOR)


# Sums of two products of float16 numbers are rounded once in float32, whatever their order: equal to the last bit.
ROUNDED_PRODUCT = half(X) @ half(WEIGHT)
HALF = (half(ROUNDED_PRODUCT), half(half(ROUNDED_PRODUCT) * half(FACTOR)))
CUBE_IN = (ROUNDED_PRODUCT, ROUNDED_PRODUCT * FACTOR)
CUBE_ONLY = (half(ROUNDED_PRODUCT), half(ROUNDED_PRODUCT) * FACTOR)
SINGLE = (X @ WEIGHT, (X @ WEIGHT) * FACTOR)
MODES = {
    "default": ([], HALF),
    "force_fp16": (["--precision_mode", "force_fp16"], HALF),
    "force_fp32": (["--precision_mode", "force_fp32"], CUBE_IN),
    "cube_fp16in_fp32out": (["--precision_mode", "cube_fp16in_fp32out"], CUBE_IN),
    "allow_fp32_to_fp16": (["--precision_mode", "allow_fp32_to_fp16"], CUBE_ONLY),
    "must_keep_origin_dtype": (["--precision_mode", "must_keep_origin_dtype"], SINGLE),
    "v2 fp16": (["--precision_mode_v2", "fp16"], HALF),
    "v2 cube_fp16in_fp32out": (["--precision_mode_v2", "cube_fp16in_fp32out"], CUBE_IN),
    "v2 origin": (["--precision_mode_v2", "origin"], SINGLE),
}


@pytest.mark.parametrize(("flags", "expected"), MODES.values(), ids=MODES.keys())
def test_modes_agree_with_numpy_bit_for_bit(
    compile_model: Compile, flags: list[str], expected: tuple[np.ndarray, np.ndarray]
) -> None:
    found = execute(compile_model(matmul_then_multiply(), *flags), X)
    if expected is SINGLE:
        # numpy and ONNX Runtime may sum unrounded products in another order: the last of 24 bits
        np.testing.assert_allclose(found, expected, rtol=2**-23)
    else:
        np.testing.assert_array_equal(found, expected)


def test_the_four_results_differ() -> None:
    results = {np.array(expected).tobytes() for expected in (HALF, CUBE_IN, CUBE_ONLY, SINGLE)}
    assert len(results) == 4


def test_kept_operators_stay_float32(compile_model: Compile, tmp_path: Path) -> None:
    # of the Mul's operands one comes out of a float16 operator, the other is a weight that stays as it is
    expected = (half(ROUNDED_PRODUCT), half(ROUNDED_PRODUCT) * FACTOR)
    for line in ("Mul_0", "OpType::Mul"):
        (tmp_path / "keep.cfg").write_text(f"{line}\n\n")
        found = execute(compile_model(matmul_then_multiply(), "--keep_dtype=keep.cfg"), X)
        np.testing.assert_array_equal(found, expected)
        assert header_of(tmp_path)["keep_dtype"] == ["Mul_0"]


def test_what_a_kept_operator_makes_is_rounded_for_the_next(compile_model: Compile, tmp_path: Path) -> None:
    (tmp_path / "keep.cfg").write_text("MatMul_0")
    product, y = execute(compile_model(matmul_then_multiply(), "--keep_dtype=keep.cfg"), X)
    np.testing.assert_allclose(product, X @ WEIGHT, rtol=2**-23)
    np.testing.assert_array_equal(y, half(half(product) * half(FACTOR)))


def test_the_bias_joins_a_float32_sum_as_it_is(compile_model: Compile) -> None:
    gemm = helper.make_node("Gemm", ["x", "weight", "bias"], ["y"])
    bias = np.array([0.1, 1 / 3], np.float32)  # float16 has neither
    model = model_of([gemm], (1, 2), ["y"], weight=WEIGHT, bias=bias)
    (found,) = execute(compile_model(model, "--precision_mode=force_fp32"), X)
    # a sum of three, in any order; rounded, a bias would differ in the 12th bit
    np.testing.assert_allclose(found, ROUNDED_PRODUCT + bias, rtol=2**-21)


FLOAT32_RELU = {"mode": ["--precision_mode=allow_fp32_to_fp16"], "keep_dtype": ["--keep_dtype=keep.cfg"]}


@pytest.mark.parametrize("flags", FLOAT32_RELU.values(), ids=FLOAT32_RELU.keys())
def test_rounding_does_not_wait_for_a_float32_relu(compile_model: Compile, tmp_path: Path, flags: list[str]) -> None:
    (tmp_path / "keep.cfg").write_text("Relu_0")
    nodes = [
        helper.make_node("MatMul", ["x", "weight"], ["product"]),
        helper.make_node("Relu", ["product"], ["y"], name="Relu_0"),
    ]
    (found,) = execute(compile_model(model_of(nodes, (1, 2), ["y"], weight=WEIGHT), *flags), X)
    np.testing.assert_array_equal(found, np.maximum(half(ROUNDED_PRODUCT), 0))


def header_of(folder: Path) -> dict:
    return json.loads((folder / "m.om").read_bytes().split(b"\n", 2)[1])


def test_header_names_the_mode(compile_model: Compile, tmp_path: Path) -> None:
    compile_model(matmul_then_multiply())
    assert header_of(tmp_path)["precision_mode"] == "force_fp16"
    assert [tensor["dtype"] for tensor in header_of(tmp_path)["outputs"]] == ["float32", "float32"]


def square(opset: int = 11) -> onnx.ModelProto:
    """x -> x*x -> |x*x| -> its negative: one rounding, two operators that only move values."""
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["square"]),
        helper.make_node("Neg", ["square"], ["y"]),
    ]
    return model_of(nodes, (1, 1), ["square", "y"], opset)


OVERFLOWS = {
    "310P3 saturates": ("Ascend310P3", 300.0, 65504.0),
    "310B4 saturates": ("Ascend310B4", 300.0, 65504.0),
    "910A saturates": ("Ascend910A", 300.0, 65504.0),
    "910B of the first generation saturates": ("Ascend910B", 300.0, 65504.0),
    "910B3 becomes infinite": ("Ascend910B3", 300.0, np.inf),
    "910_93 becomes infinite": ("Ascend910_9391", 300.0, np.inf),
    "the largest": ("Ascend310P3", 255.875, 65472.0),  # 65472.0156…, between 65472 and 65504
    "the smallest": ("Ascend310P3", 2.0**-12, 2.0**-24),
    "half of the smallest vanishes": ("Ascend310P3", 2.0**-13, 0.0),
}


@pytest.mark.parametrize("opset", [9, 11])
@pytest.mark.parametrize(("soc", "x", "expected"), OVERFLOWS.values(), ids=OVERFLOWS.keys())
def test_ends_of_the_range(compile_model: Compile, soc: str, x: float, expected: float, opset: int) -> None:
    squared, negative = execute(compile_model(square(opset), soc=soc), np.array([[x]], np.float32))
    assert (squared.item(), negative.item()) == (expected, -expected)


@pytest.mark.parametrize(("soc", "expected"), [("Ascend310P3", 65504.0), ("Ascend910B3", np.inf)])
@pytest.mark.parametrize("last", ["Relu", "Clip", "MaxPool"])
def test_ends_of_the_range_behind_a_deferred_rounding(
    compile_model: Compile, last: str, soc: str, expected: float
) -> None:
    more = {"MaxPool": {"kernel_shape": [1, 1]}}.get(last, {})
    bounds = ["low"] if last == "Clip" else []
    nodes = [
        helper.make_node("Conv", ["x", "weight"], ["convolved"]),
        helper.make_node(last, ["convolved", *bounds], ["y"], **more),
    ]
    model = model_of(nodes, (1, 1, 1, 1), ["y"], weight=np.full((1, 1, 1, 1), 300.0), low=np.array(0.0))
    (found,) = execute(compile_model(model, soc=soc), np.full((1, 1, 1, 1), 300.0, np.float32))
    assert found.item() == expected


def test_weights_beyond_the_range_are_clipped(compile_model: Compile) -> None:
    model = model_of([helper.make_node("Mul", ["x", "w"], ["y"])], (1, 2), ["y"], w=np.array([[1e6, -1e6]]))
    (found,) = execute(compile_model(model, soc="Ascend910B3"), np.array([[0.5, 0.5]], np.float32))
    np.testing.assert_array_equal(found, [[32752.0, -32752.0]])


def test_onnx_runtime_keeps_the_roundings(compile_model: Compile) -> None:
    x = np.random.default_rng(1).normal(size=(4, 3, 4, 4)).astype(np.float32)
    model = small_model(batch=4)
    model.graph.input[0].name = model.graph.node[0].input[0] = model.graph.node[1].input[0] = "x"
    for values in execute(compile_model(model), x):
        np.testing.assert_array_equal(values, half(values))
    exact = execute(compile_model(model, "--precision_mode=must_keep_origin_dtype"), x)
    assert not any(np.array_equal(values, half(values)) for values in exact)


def test_rounding_stands_behind_relu_and_pooling(compile_model: Compile) -> None:
    weight = np.random.default_rng(2).normal(size=(2, 3, 1, 1)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "weight"], ["convolved"]),
        helper.make_node("Relu", ["convolved"], ["positive"]),
        helper.make_node("MaxPool", ["positive"], ["y"], kernel_shape=[2, 2], strides=[2, 2]),
    ]
    compiled = compile_model(model_of(nodes, (1, 3, 4, 4), ["y"], weight=weight))
    # the Relu became a Clip to 0 … 65504, which ONNX Runtime fuses into the Conv as well
    assert operators(compiled) == ["Clip", "Cast", "Cast", "Conv", "Clip", "MaxPool", "Cast", "Cast"]
    x = np.random.default_rng(3).normal(size=(1, 3, 4, 4)).astype(np.float32)
    convolved = np.einsum("oc,chw->ohw", half(weight)[:, :, 0, 0].astype(np.float64), half(x)[0])
    pooled = half(np.maximum(convolved, 0)).reshape(2, 2, 2, 2, 2).max((2, 4))
    (found,) = execute(compiled, x)
    np.testing.assert_allclose(found[0], pooled, rtol=2**-10)  # one step of float16, where the sum is near a tie


def test_two_users_see_the_same_rounded_value(compile_model: Compile) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["square"]),
        helper.make_node("Relu", ["square"], ["a"]),
        helper.make_node("Neg", ["square"], ["b"]),
    ]
    x = np.array([[0.1]], np.float32)
    a, b = execute(compile_model(model_of(nodes, (1, 1), ["a", "b"])), x)
    np.testing.assert_array_equal([a, -b], [half(half(x) * half(x))] * 2)


def test_moves_and_choices_are_not_rounded_again(compile_model: Compile) -> None:
    compiled = compile_model(small_model(batch=2))
    # around the image, behind the Conv and behind the mean; none behind Resize and Flatten
    assert operators(compiled).count("Cast") == 6


LINEAR_RESIZES = {"Resize 11": ["x", "roi", "scales"], "Resize 10": ["x", "scales"], "Upsample 9": ["x", "scales"]}


@pytest.mark.parametrize(("kind", "inputs"), LINEAR_RESIZES.items(), ids=LINEAR_RESIZES.keys())
def test_linear_resize_keeps_its_scales_and_rounds_its_values(
    compile_model: Compile, kind: str, inputs: list[str]
) -> None:
    operator, opset = kind.split()
    weights = {"scales": np.array([1, 1, 1, 69 / 35]), "roi": np.array([])}  # float16 has no 69/35
    node = helper.make_node(operator, inputs, ["y"], mode="linear")
    model = model_of([node], (1, 1, 1, 35), ["y"], int(opset), **{name: weights[name] for name in inputs[1:]})
    x = np.random.default_rng(4).normal(size=(1, 1, 1, 35)).astype(np.float32)
    (interpolated,) = execute(model, half(x))
    (found,) = execute(compile_model(model), x)
    np.testing.assert_array_equal(found, half(interpolated))
    assert not np.array_equal(found, interpolated)


def test_clip_by_attributes_with_a_bound_that_float16_has_not(compile_model: Compile) -> None:
    clip = helper.make_node("Clip", ["x"], ["y"], min=0.0, max=0.1)
    (found,) = execute(compile_model(model_of([clip], (1, 2), ["y"], opset=9)), np.array([[0.05, 1.0]], np.float32))
    np.testing.assert_array_equal(found, half([[0.05, 0.1]]))


CLIPS_BELOW_11 = {"no bound": ({}, 65504.0), "low": ({"min": 0.0}, 65504.0), "both": ({"min": 0.0, "max": 7.0}, 7.0)}


@pytest.mark.parametrize(("bounds", "expected"), CLIPS_BELOW_11.values(), ids=CLIPS_BELOW_11.keys())
def test_the_end_of_the_range_behind_a_clip_by_attributes(
    compile_model: Compile, bounds: dict[str, float], expected: float
) -> None:
    nodes = [helper.make_node("Conv", ["x", "weight"], ["convolved"]), helper.make_node("Clip", ["convolved"], ["y"])]
    nodes[1].attribute.extend(helper.make_attribute(name, value) for name, value in bounds.items())
    model = model_of(nodes, (1, 1, 1, 1), ["y"], opset=9, weight=np.full((1, 1, 1, 1), 300.0))
    compiled = compile_model(model)
    (found,) = execute(compiled, np.full((1, 1, 1, 1), 300.0, np.float32))
    assert found.item() == expected
    # within its two bounds nothing is left to saturate: that of the image, and the model's own
    assert operators(compiled).count("Clip") == (2 if len(bounds) == 2 else 3)


def test_rounding_does_not_wait_for_a_clip_whose_bound_is_computed(compile_model: Compile) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "weight"], ["convolved"]),
        helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=0),
        helper.make_node("Clip", ["convolved", "", "largest"], ["y"]),
    ]
    compiled = compile_model(model_of(nodes, (1, 1, 1, 2), ["y"], weight=np.full((1, 1, 1, 1), 3.0)))
    (clip,) = (node for node in compiled.graph.node if node.output[0] == "y" or node.output[0].startswith("y/"))
    producers = {output: node.op_type for node in compiled.graph.node for output in node.output}
    assert producers[clip.input[0]] == "Cast"
    (found,) = execute(compiled, np.array([[[[0.5, 2.0]]]], np.float32))
    np.testing.assert_array_equal(found, [[[[1.5, 2.0]]]])


def test_integers_are_left_alone(compile_model: Compile) -> None:
    model = two_input_model()
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    assert operators(compile_model(model)) == ["Add"]


def test_operators_with_subgraphs_are_refused(run: Run, tmp_path: Path) -> None:
    branch = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["z"])], "b", [], [helper.make_tensor_value_info("z", TensorProto.FLOAT, [1])]
    )
    graph = helper.make_graph(
        [helper.make_node("If", ["choice"], ["y"], then_branch=branch, else_branch=branch, name="If_0")],
        "g",
        [
            helper.make_tensor_value_info("choice", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    onnx.save(model, tmp_path / "if.onnx")
    result = run("atc", "--model", "if.onnx", "--output", "o", *ATC_COMMON)
    assert result.code == 255
    assert "the emulated atc rounds no operators with subgraphs such as If If_0" in result.stdout
