"""Int8 layers in the stand-in: AscendQuant, AscendDequant and AscendAntiQuant are read and computed as CANN states."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from onnx import TensorProto, helper, numpy_helper

from .conftest import ATC_COMMON, Run, stand_ins_importable

ORIGIN, HALF = "must_keep_origin_dtype", "force_fp16"
KEEP_TYPES = ("--precision_mode", ORIGIN)


@pytest.fixture(scope="module")
def emulation() -> Iterator[SimpleNamespace]:
    """The stand-in's own modules, in this process."""
    with stand_ins_importable():
        from ascend_emulation import atc_errors, cann, chip, precision, quantised_operators

        yield SimpleNamespace(
            Error=atc_errors.AtcError,
            release=cann.RELEASES["9.1"],
            has_sparsity=chip.has_sparsity,
            expand=quantised_operators.expand_quantised,
            MODES=precision.MODES,
        )


@dataclass(frozen=True)
class Int8Layer:
    """x float32 -> AscendQuant -> a layer on int8 -> AscendDequant -> y; `changes` are attributes of AscendQuant."""

    operator: str
    shape: tuple[int, ...]
    weight: np.ndarray
    bias: np.ndarray | None
    attributes: dict[str, Any] = field(default_factory=dict)
    step: float = 0.05  # of x
    offset: int = -28
    changes: dict[str, Any] = field(default_factory=dict)
    dequant: dict[str, Any] = field(default_factory=dict)

    @property
    def weight_steps(self) -> np.ndarray:
        """One for each output."""
        return np.linspace(0.001, 0.004, self.outputs, dtype=np.float32)

    @property
    def outputs(self) -> int:
        axis = 0 if self.operator == "Conv" or self.attributes.get("transB") else 1
        return self.weight.shape[axis]

    @property
    def factor(self) -> np.ndarray:
        return np.float32(self.step) * self.weight_steps

    def along_outputs(self, values: np.ndarray) -> np.ndarray:
        return values.reshape(-1, *[1] * (len(self.shape) - 2))

    def ascend(self, **constants: np.ndarray) -> onnx.ModelProto:
        """The model that atc takes; `constants` replace its own."""
        made = {"w": self.weight, "b": self.bias, "deq": self.factor.view(np.uint32).astype(np.uint64), **constants}
        made = {name: value for name, value in made.items() if value is not None}
        scale = {"scale": float(np.float32(1 / self.step)), "offset": float(self.offset), **self.changes}
        scale = {name: value for name, value in scale.items() if value is not None}
        inputs = ["xq", *(name for name in ("w", "b") if name in made)]
        nodes = [
            helper.make_node("AscendQuant", ["x"], ["xq"], name="quant", **scale),
            helper.make_node(self.operator, inputs, ["sums"], name="layer", **self.attributes),
            helper.make_node("AscendDequant", ["sums", "deq"], ["y"], name="dequant", **self.dequant),
        ]
        return model_of(nodes, self.shape, made, opset=11)

    def qdq(self) -> onnx.ModelProto:
        """The same layer as ONNX has it; transposed convolutions and products have their outputs on axis 1."""
        axis = 0 if self.operator == "Conv" or self.attributes.get("transB") else 1
        made = {
            **{"s": np.float32(self.step), "z": np.int8(self.offset)},
            **{"w": self.weight, "ws": self.weight_steps, "wz": np.zeros(self.outputs, np.int8)},
        }
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
            helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
            helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=axis),
        ]
        inputs = ["xd", "wd"]
        if self.bias is not None:
            made.update({"b": self.bias, "bs": self.factor, "bz": np.zeros(self.outputs, np.int32)})
            nodes.append(helper.make_node("DequantizeLinear", ["b", "bs", "bz"], ["bd"], axis=0))
            inputs.append("bd")
        nodes.append(helper.make_node(self.operator, inputs, ["y"], name="layer", **self.attributes))
        return model_of(nodes, self.shape, made, opset=13)

    def on_grid(self) -> np.ndarray:
        """x of which quantising makes each int8 value, in any arithmetic."""
        levels = np.resize(np.random.default_rng(1).permutation(np.arange(-128, 128)), self.shape)
        return ((levels - self.offset) * self.step).astype(np.float32)


def model_of(nodes: list, shape: tuple[int, ...], constants: dict[str, np.ndarray], opset: int) -> onnx.ModelProto:
    """A model x -> y of float32."""
    graph = helper.make_graph(
        nodes,
        "int8",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def int8s(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-127, 128, shape).astype(np.int8)


def int32s(count: int) -> np.ndarray:
    return np.random.default_rng(2).integers(-50000, 50000, count).astype(np.int32)


PADDED = {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}
CONV = Int8Layer("Conv", (1, 20, 6, 5), int8s(24, 20, 3, 3), int32s(24), {**PADDED, "strides": [2, 1]})
LAYERS = {
    "conv": CONV,
    "conv without bias, offset 0": replace(CONV, bias=None, offset=0),
    "grouped conv": Int8Layer("Conv", (1, 32, 5, 4), int8s(8, 8, 3, 3), int32s(8), {**PADDED, "group": 4}),
    "depthwise conv": Int8Layer("Conv", (1, 20, 5, 4), int8s(20, 1, 3, 3), int32s(20), {**PADDED, "group": 20}),
    "transposed conv": Int8Layer(
        "ConvTranspose", (1, 20, 3, 4), int8s(20, 6, 2, 2), int32s(6), {"strides": [2, 2], "kernel_shape": [2, 2]}
    ),
    "gemm": Int8Layer("Gemm", (3, 20), int8s(20, 7), int32s(7)),
    "gemm, transposed": Int8Layer("Gemm", (3, 20), int8s(7, 20), int32s(7), {"transB": 1}),
    "matmul": Int8Layer("MatMul", (3, 20), int8s(20, 7), None),
}


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def expanded(emulation: Any, model: onnx.ModelProto, mode: str = ORIGIN) -> tuple[onnx.ModelProto, list[str]]:
    """The model with standard operators, and the notes."""
    return model, emulation.expand(model, emulation.MODES[mode], saturate=True).notes


def compute(emulation: Any, model: onnx.ModelProto, x: np.ndarray, *more: str) -> list[np.ndarray]:
    """y, and the int32 tensors called `more`, as the stand-in computes them."""
    found, _ = expanded(emulation, model)
    found.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.INT32, None) for name in more)
    return session(found).run(None, {"x": x})


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_a_layer_has_the_sums_and_outputs_of_the_qdq_model(emulation: Any, layer: Int8Layer) -> None:
    """From the same int8 inputs and deq_scale: sums are equal, outputs but for the order of float32 sums."""
    x = layer.on_grid()
    (expected,) = session(layer.qdq()).run(None, {"x": x})
    y, sums = compute(emulation, layer.ascend(), x, "sums")
    factor = layer.along_outputs(layer.factor)
    np.testing.assert_array_equal(sums, np.rint(expected / factor.astype(np.float64)).astype(np.int32))
    np.testing.assert_array_equal(y, sums.astype(np.float32) * factor)
    np.testing.assert_allclose(y, expected, rtol=0, atol=2**-20 * np.abs(expected).max())


def test_sums_of_the_largest_values_are_exact(emulation: Any) -> None:
    """On CPUs without VNNI, sums of products of unsigned and signed bytes saturate (onnxruntime#6004)."""
    weight = np.full((2, 64, 3, 3), 127, np.int8)
    weight[1] = -127
    layer = Int8Layer("Conv", (1, 64, 4, 4), weight, np.array([5, -5], np.int32), PADDED, offset=-128)
    x = np.full(layer.shape, 255 * layer.step, np.float32)
    _, sums = compute(emulation, layer.ascend(), x, "sums")
    windows = sliding_window_view(np.pad(np.full((4, 4), 255), 1), (3, 3)).sum((2, 3)) * 64 * 127 + 5
    assert sums.max() > 2**24
    np.testing.assert_array_equal(sums[0], np.stack([windows, -windows]))


def quantised_by_hand(x: np.ndarray, scale: float, offset: int) -> np.ndarray:
    """NumPy rounds each operation on float16 to float16."""
    return np.clip(np.rint(x.astype(np.float16) * np.float16(scale) + np.float16(offset)), -128, 127)


def test_values_are_quantised_in_float16(emulation: Any) -> None:
    """As ascend_quant.py of CANN does; what differs from QuantizeLinear is a step, all within float16 of a tie."""
    rng = np.random.default_rng(3)
    step, offset = 0.037, -100
    x = rng.uniform(-2, 9, (1, 20, 64, 64)).astype(np.float32)
    scale = float(np.float32(1 / step))
    nodes = [
        helper.make_node("AscendQuant", ["x"], ["xq"], scale=scale, offset=float(offset)),
        helper.make_node("AscendAntiQuant", ["xq"], ["y"], scale=1.0, offset=0.0),
    ]
    (levels,) = compute(emulation, model_of(nodes, x.shape, {}, 11), x)
    np.testing.assert_array_equal(levels, quantised_by_hand(x, scale, offset))
    exact = x.astype(np.float64) / step + offset
    of_onnx = np.clip(np.rint(exact), -128, 127)
    differ = levels != of_onnx
    # Three roundings of at most 2**-11 each, of values up to |127 - offset|, and one of the sum.
    reach = 3 * 2**-11 * np.abs(exact - offset)[differ] + 2**-4
    to_tie = np.abs(exact[differ] - np.floor(exact[differ]) - 0.5)
    assert 0 < differ.mean() < 0.2
    assert np.abs(levels - of_onnx).max() == 1 and (to_tie <= reach).all()


def test_values_are_read_back_in_float16(emulation: Any) -> None:
    """AscendAntiQuant: the parser negates the offset, and the kernel adds it."""
    layer = replace(CONV, step=0.0123)
    nodes = [
        helper.make_node("AscendQuant", ["x"], ["xq"], scale=1 / layer.step, offset=float(layer.offset)),
        helper.make_node("AscendAntiQuant", ["xq"], ["y"], scale=layer.step, offset=float(layer.offset)),
    ]
    x = layer.on_grid()
    (y,) = compute(emulation, model_of(nodes, x.shape, {}, 11), x)
    levels = np.rint(x / np.float32(layer.step)).astype(np.float16)
    np.testing.assert_array_equal(y, (levels * np.float16(layer.step)).astype(np.float32))


def test_what_is_ignored_when_values_are_read_back_is_told(emulation: Any) -> None:
    anti = helper.make_node("AscendAntiQuant", ["xq"], ["y"], name="anti", scale=0.1, offset=3)
    _, notes = expanded(emulation, plain(QUANT, anti))
    assert len(notes) == 1 and "AscendAntiQuant anti: offset is INT." in notes[0] and "values are shifted" in notes[0]


def test_values_beyond_float16_become_its_largest(emulation: Any) -> None:
    """On a chip with saturation: x in front of AscendQuant, and the result of AscendDequant."""
    quant = helper.make_node("AscendQuant", ["x"], ["xq"], scale=0.001, offset=0.0)
    x = np.array([[1e5, -1e5]], np.float32)
    for step, expected in ((1.0, 66), (1000.0, 65504)):
        nodes = [quant, helper.make_node("AscendAntiQuant", ["xq"], ["y"], scale=step, offset=0.0)]
        (y,) = compute(emulation, model_of(nodes, x.shape, {}, 11), x)
        assert y.tolist() == [[expected, -expected]]
    layer = replace(LAYERS["gemm"], dequant={"dtype": 1})
    (y,) = compute(emulation, layer.ascend(deq=np.array([0x447A0000], np.uint64)), layer.on_grid())  # 1000.0
    assert np.abs(y).max() == 65504


def test_an_integer_offset_is_ignored_and_costs_the_result(emulation: Any) -> None:
    """msmodelslim 26.1.0 writes it so: CANN's parser reads FLOAT, takes 0, and half of the values are clipped."""
    layer = replace(CONV, offset=-128)
    x = layer.on_grid()
    (expected,) = session(layer.qdq()).run(None, {"x": x})

    def error(changes: dict[str, Any]) -> tuple[float, list[str]]:
        model, notes = expanded(emulation, replace(layer, changes=changes).ascend())
        (y,) = session(model).run(None, {"x": x})
        return float(np.linalg.norm(y - expected) / np.linalg.norm(expected)), notes

    assert error({}) == (pytest.approx(0, abs=1e-6), [])
    found, notes = error({"offset": -128})
    assert found > 0.3
    assert notes == [
        "[WARNING] AscendQuant quant: offset is INT. CANN's parser reads FLOAT only and takes 0 instead, so values "
        "outside -6.4 to 6.35 are clipped. Write offset as FLOAT."
    ]
    _, notes = error({"scale": 20, "offset": None})
    assert [re.sub(" CANN.* so", "", note) for note in notes] == [
        "[WARNING] AscendQuant quant: scale is INT. all values become one. Write scale as FLOAT.",
        "[WARNING] AscendQuant quant: offset is missing. values are shifted. Write offset as FLOAT.",
    ]


def test_a_convolution_on_16_channels_returns_to_float(emulation: Any) -> None:
    """CANN's graph engine does so (bias_optimize_quant_rollback_base.cc): x is not quantised, weights were."""
    for channels, is_float in ((16, True), (17, False)):
        layer = Int8Layer("Conv", (1, channels, 5, 4), int8s(6, channels, 3, 3), int32s(6), PADDED)
        model, _ = expanded(emulation, replace(layer, dequant={"relu_flag": 1}).ascend())
        kinds = [node.op_type for node in model.graph.node]
        assert (kinds == ["Conv", "Relu"]) == is_float and ("ConvInteger" in kinds) != is_float
        x = np.random.default_rng(4).uniform(-4, 6, layer.shape).astype(np.float32)
        (y,) = session(model).run(None, {"x": x})
        nodes = [helper.make_node("Conv", ["x", "w", "b"], ["s"], **PADDED), helper.make_node("Relu", ["s"], ["y"])]
        weight = layer.weight * layer.weight_steps.reshape(-1, 1, 1, 1)
        constants = {"w": weight, "b": (layer.bias * layer.factor).astype(np.float32)}
        (exact,) = session(model_of(nodes, x.shape, constants, 11)).run(None, {"x": x})
        error = np.abs(y - exact).max() / np.abs(exact).max()
        assert y.min() == 0 and (error < 1e-5) == is_float
    _, notes = expanded(emulation, Int8Layer("Conv", (1, 16, 5, 4), int8s(6, 16, 1, 1), None).ascend())
    assert notes == [
        "[INFO] Conv layer is computed in float: its input has 16 channels, and CANN returns int8 convolutions on 16 "
        "channels or fewer to float."
    ]


def plain(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    return model_of(list(nodes), (1, 20, 4, 4), {}, 11)


def with_output(model: onnx.ModelProto, name: str, kind: int) -> onnx.ModelProto:
    model.graph.output.append(helper.make_tensor_value_info(name, kind, None))
    return model


def with_reader(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    model.graph.node.append(helper.make_node("Abs", [name], ["other"]))
    return model


QUANT = helper.make_node("AscendQuant", ["x"], ["xq"], name="quant", scale=20.0, offset=0.0)
BITS = CONV.factor.view(np.uint32).astype(np.uint64)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (replace(CONV, changes={"sqrt_mode": 1}).ascend(), "(node quant) with sqrt_mode"),
        (replace(CONV, dequant={"sqrt_mode": 1}).ascend(), "(node dequant) with sqrt_mode"),
        (replace(CONV, dequant={"dtype": 3}).ascend(), "with dtype 3; it takes 0 (float32) and 1 (float16)"),
        (replace(CONV, changes={"round_mode": "Floor"}).ascend(), 'with a round_mode other than "Round"'),
        (replace(CONV, changes={"dst_type": "INT4 "}).ascend(), "with a dst_type other than INT8"),
        (replace(CONV, changes={"offset": 0.5}).ascend(), "with offset 0.5; it takes whole numbers from -128 to 127"),
        (replace(CONV, changes={"offset": 128.0}).ascend(), "with offset 128; it takes whole numbers from -128 to 127"),
        (replace(CONV, changes={"scale": 1e6}).ascend(), "with scale 1e+06, which float16 does not hold"),
        (CONV.ascend(deq=CONV.factor), "with deq_scale of type FLOAT; it takes UINT64"),
        (
            CONV.ascend(deq=CONV.factor.view(np.uint32).astype(np.uint64)[:3]),
            "with deq_scale [3]; it takes [24] or [1]",
        ),
        (CONV.ascend(deq=BITS | np.uint64(1 << 32)), "whose upper 32 bits (shift, offset_w) are not 0"),
        (CONV.ascend(deq=np.full(1, 0x7F800000, np.uint64)), "whose low 32 bits are no finite float32"),
        (CONV.ascend(b=CONV.bias.astype(np.float32)), "with bias of type FLOAT; it takes INT32"),
        (CONV.ascend(b=CONV.bias[:4]), "with a bias [4]; it takes [24]"),
        (CONV.ascend(w=CONV.weight.astype(np.float32)), "with weights of type FLOAT; it takes INT8"),
        (replace(LAYERS["gemm"], attributes={"alpha": 0.5}).ascend(), "except with transA=0, alpha=1, beta=1"),
        (replace(LAYERS["transposed conv"], attributes={"group": 2}).ascend(), "in int8 with 2 groups"),
        (
            Int8Layer("ConvTranspose", (1, 600, 2, 2), np.full((600, 2, 3, 3), 127, np.int8), None).ascend(),
            "with sums up to 106299000, which float32 does not hold exactly",
        ),
        (with_output(CONV.ascend(), "xq", TensorProto.INT8), "as an output of the model"),
        (with_reader(CONV.ascend(), "sums"), "whose input sums also goes elsewhere"),
        (plain(QUANT, helper.make_node("Relu", ["xq"], ["y"], name="r")), "whose int8 values go into Relu r"),
        (
            plain(helper.make_node("AscendAntiQuant", ["x"], ["y"], scale=1.0)),
            "its input x does not come from AscendQuant",
        ),
        (
            plain(QUANT, helper.make_node("AscendDequant", ["xq", "d"], ["y"])),
            "behind AscendQuant; it computes it behind",
        ),
    ],
)
def test_what_cann_would_not_take_is_refused(emulation: Any, model: onnx.ModelProto, said: str) -> None:
    with pytest.raises(emulation.Error) as caught:
        emulation.expand(model, emulation.MODES[HALF], saturate=True)
    assert caught.value.code == "E10055"
    assert said in caught.value.render(emulation.release)


def test_atc_compiles_an_int8_model(run: Run, tmp_path: Any) -> None:
    """Through atc: layers that share an AscendQuant, in both modes; the sums are the same, results have their width."""
    rng = np.random.default_rng(5)
    constants = {"w": int8s(20, 20, 3, 3), "b": int32s(20), "v": int8s(24, 20, 1, 1), "deq": BITS[:1]}
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="relu"),
        helper.make_node("AscendQuant", ["a"], ["q"], name="quant", scale=20.0, offset=-128.0, quant_bit=8),
        helper.make_node("Conv", ["q", "w", "b"], ["one"], name="first", **PADDED),
        helper.make_node("AscendDequant", ["one", "deq"], ["c"], name="dequant_1", dtype=0),
        helper.make_node("Conv", ["q", "v"], ["two"], name="second", kernel_shape=[1, 1]),
        helper.make_node("AscendDequant", ["two", "deq"], ["d"], name="dequant_2", dtype=0),
        helper.make_node("Concat", ["c", "d"], ["y"], name="concat", axis=1),
    ]
    onnx.save(model_of(nodes, ("n", 20, 6, 6), constants, 11), tmp_path / "m.onnx")
    words = ("--model", "m.onnx", "--output", "m", "--input_shape", "x:2,20,6,6", *ATC_COMMON)
    x = rng.uniform(-4, 12, (2, 20, 6, 6)).astype(np.float32)
    found = {}
    for mode in (ORIGIN, HALF):
        done = run("atc", *words, "--precision_mode", mode, "--out_nodes", "concat:0;first:0")
        assert done.code == 0, done.stdout
        model = onnx.load_model_from_string((tmp_path / "m.om").read_bytes().split(b"\n", 2)[2])
        found[mode] = session(model).run(None, {"x": x})
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("Round") == 1 and kinds.count("ConvInteger") == 2
    # Pairs for x, product and sum; one to uint8; for each layer one to float32 and a pair: nothing is rounded twice.
    assert kinds.count("Cast") == 3 * 2 + 1 + 2 * 3
    np.testing.assert_array_equal(found[ORIGIN][1], found[HALF][1])
    levels = quantised_by_hand(np.maximum(x, 0), 20, -128).astype(np.int64) + 128
    windows = sliding_window_view(np.pad(levels, [(0, 0), (0, 0), (1, 1), (1, 1)]), (3, 3), (2, 3))
    sums = np.einsum("nchwij,ocij->nohw", windows, constants["w"].astype(np.int64)) + constants["b"].reshape(-1, 1, 1)
    np.testing.assert_array_equal(found[HALF][1], sums)
    np.testing.assert_array_equal(found[ORIGIN][0][:, :20], sums.astype(np.float32) * CONV.factor[0])
    np.testing.assert_array_equal(found[HALF][0], found[ORIGIN][0].astype(np.float16).astype(np.float32))


def test_keep_dtype_keeps_the_result_of_a_layer_in_float32(run: Run, tmp_path: Any) -> None:
    onnx.save(CONV.ascend(), tmp_path / "m.onnx")
    (tmp_path / "kept.cfg").write_text("OpType::AscendDequant\n")
    words = ("--model", "m.onnx", "--output", "m", *ATC_COMMON)
    results = []
    for more in ((), ("--keep_dtype", "kept.cfg"), KEEP_TYPES):
        assert run("atc", *words, *more).code == 0
        model = onnx.load_model_from_string((tmp_path / "m.om").read_bytes().split(b"\n", 2)[2])
        results.append(session(model).run(None, {"x": CONV.on_grid()})[0])
    np.testing.assert_array_equal(results[1], results[2])
    np.testing.assert_array_equal(results[0], results[2].astype(np.float16))
    assert not np.array_equal(results[0], results[2])


def test_atc_tells_what_returned_to_float_and_what_it_ignored(run: Run, tmp_path: Any) -> None:
    layer = Int8Layer("Conv", (1, 3, 4, 4), int8s(4, 3, 1, 1), None, changes={"offset": -28})
    onnx.save(layer.ascend(), tmp_path / "m.onnx")
    done = run("atc", "--model", "m.onnx", "--output", "m", *ATC_COMMON)
    assert done.code == 0
    lines = done.stdout.splitlines()
    assert [line[:30] for line in lines[1:3]] == ["[WARNING] AscendQuant quant: o", "[INFO] Conv layer is computed "]
    assert lines[3].startswith("ATC run success")


@pytest.mark.parametrize(("release", "code"), [("9.1", "E13010"), ("8.0", "E19010")])
def test_atc_refuses_quantize_linear(run: Run, tmp_path: Any, release: str, code: str) -> None:
    """AMCT's convert_qat_model must come before atc (hiascend, CANN 9.1, atlasamct_16_0153)."""
    onnx.save(CONV.qdq(), tmp_path / "m.onnx")
    done = run("atc", "--model", "m.onnx", "--output", "m", *ATC_COMMON, env={"EMULATED_CANN": release})
    assert done.code == 255
    assert code in done.stdout and "ai.onnx::13::QuantizeLinear" in done.stdout


def test_sparse_weights_are_for_the_chips_that_have_them(emulation: Any, run: Run, tmp_path: Any) -> None:
    """The products of ATC's page on --sparsity (hiascend, CANN 8.5, atlasatcparam_16_0061)."""
    chips = ("310", "310P3", "910", "910A", "910B", "910ProA", "310B4", "910B3", "910B2C", "910_9392")
    assert [chip for chip in chips if emulation.has_sparsity(f"Ascend{chip}")] == list(chips[6:])
    onnx.save(CONV.ascend(), tmp_path / "m.onnx")
    words = ("--model", "m.onnx", "--output", "m", "--framework", "5")
    refused = run("atc", *words, "--soc_version", "Ascend310P3", "--sparsity", "1")
    assert refused.code == 255
    assert "--sparsity=1 (4:2 sparse weights) does not exist for Ascend310P3" in refused.stdout
    assert run("atc", *words, "--soc_version", "Ascend310P3", "--sparsity", "0").code == 0
    assert run("atc", *words, "--soc_version", "Ascend310B4", "--sparsity", "1").code == 0
