"""Graphs that the real atc takes or refuses: what was seen, and what the stand-in says.

"GE" is hicann/ge's ONNX parser of August 2026 (@ffdcbc9, CANN 9.1's era) with the plugins of ops-nn, ops-math and
ops-cv, built from its public sources and run on these graphs. Other sources stand at their cases.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from recipes import RECIPES

from yolact_ascend.targets.ascend.explain import explain_atc_failure

from .conftest import ATC_COMMON, Run, stand_ins_importable

NEW, OLD = "9.1", "8.0"
NOT_PLAYED = "E10055"
PASSES, CRASHES = "passes", "crashes"
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


@pytest.fixture(scope="module")
def emulation() -> Iterator[SimpleNamespace]:
    """The stand-in's own modules, in this process."""
    with stand_ins_importable():
        from ascend_emulation import atc_errors, cann, onnx_parser

        yield SimpleNamespace(errors=atc_errors, cann=cann, parser=onnx_parser)


def outcome(emulation: SimpleNamespace, model: onnx.ModelProto, release: str) -> tuple[str, str]:
    """Code and text of what the parser says, or PASSES or CRASHES."""
    played = emulation.cann.RELEASES[release]
    try:
        emulation.parser.check_graph(model, played)
    except emulation.errors.AtcCrash as crash:
        return CRASHES, str(crash)
    except emulation.errors.AtcError as error:
        code = "E13010" if error.code == "E19010" and played.titles_errors else error.code
        return code, error.render(played)
    return PASSES, ""


def graph_of(
    *nodes: onnx.NodeProto,
    opset: int = 11,
    inputs: Sequence[str] = ("x",),
    outputs: Sequence[str] = ("y",),
    weights: dict[str, Any] | None = None,
    domains: Sequence[str] = ("",),
) -> onnx.ModelProto:
    """A model of float inputs [1,3,8,8] and outputs of any shape."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, FLOAT, [1, 3, 8, 8]) for name in inputs],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.array(value), name) for name, value in (weights or {}).items()],
    )
    opsets = [helper.make_opsetid(domain, 1 if domain else opset) for domain in domains]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def one(operator: str, inputs: Sequence[str] = ("x",), outputs: Sequence[str] = ("y",), **more: Any) -> onnx.ModelProto:
    """A model of one node called n; `attributes` are the node's, the rest is for `graph_of`."""
    node = helper.make_node(operator, inputs, outputs, name="n", **more.pop("attributes", {}))
    return graph_of(node, outputs=outputs, **more)


def suppression(inputs: int, ends_fixed: bool = False) -> onnx.ModelProto:
    """boxes [1,100,4], scores [1,1,100] through NonMaxSuppression with 2 to 5 inputs, as in ultralytics#25436.

    With `ends_fixed` a maximum makes the output's shape known, [3].
    """
    weights = {"most": np.array([300]), "iou": np.array([0.7], np.float32), "score": np.array([0.25], np.float32)}
    names = ["boxes", "scores", *weights][:inputs]
    nodes = [helper.make_node("NonMaxSuppression", names, ["kept"], name="nms")]
    if ends_fixed:
        nodes.append(helper.make_node("ReduceMax", ["kept"], ["y"], axes=[0], keepdims=0))
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("boxes", FLOAT, [1, 100, 4]),
            helper.make_tensor_value_info("scores", FLOAT, [1, 1, 100]),
        ],
        [helper.make_tensor_value_info(nodes[-1].output[0], INT64, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items() if name in names],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def loop() -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(name, kind, []) for name, kind in (("i", INT64), ("go", TensorProto.BOOL))]
    body = helper.make_graph([helper.make_node("Identity", ["go"], ["on"])], "body", values, [values[1]])
    body.output[0].name = "on"
    return one("Loop", ("", "x"), ("y",), attributes={"body": body})


def branches(operator: str) -> onnx.ModelProto:
    """An If whose branches have one operator."""
    value = helper.make_tensor_value_info("b", FLOAT, None)
    body = helper.make_graph([helper.make_node(operator, ["x"], ["b"], name="inner")], "body", [], [value])
    return one("If", attributes={"then_branch": body, "else_branch": body})


FIVE = helper.make_node("Constant", [], ["y"], value_float=5.0)
UNNAMED = (helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Relu", ["r"], ["y"]))
CALLED_X = helper.make_node("Relu", ["x"], ["y"], name="x")
TWO_RELUS = (helper.make_node("Relu", ["x"], ["r"], name="n"), helper.make_node("Relu", ["r"], ["y"], name="n"))
SCALE = {"s": np.float32(0.02), "z": np.int8(0)}
RESIZE = {"s": np.array([1, 1, 2, 2], np.float32)}
NO_PARSER = "No operator plugin is registered for Op: n, optype: ai.onnx::"
# model, outcome of GE (CANN 9.1), its words, what the stand-in says for CANN 8.0. GE's outcome NOT_PLAYED: it parses.
SEEN_WITH_GE = {
    "Relu": (one("Relu"), PASSES, "", PASSES),
    "opset without a parser": (one("Relu", opset=19), "E13010", f"{NO_PARSER}19::Relu.", "E19010"),
    "no input": (graph_of(FIVE, inputs=()), "E16001", "The model has no input node.", PASSES),
    "no output": (graph_of(TWO_RELUS[0], outputs=()), "E16001", "The model has no output node.", PASSES),
    "Clip without bounds": (one("Clip"), "EZ9999", "At least 'min' or 'max' must not be None or Empty", PASSES),
    "Clip with empty bounds": (one("Clip", ("x", "", "")), "EZ9999", "At least 'min' or 'max' must", PASSES),
    "Clip of opset 10": (one("Clip", opset=10), PASSES, "", PASSES),
    "two nodes of one name": (graph_of(*TWO_RELUS), "E13009", "Operator n already exists in the graph.", PASSES),
    "TopK of opset 9 without k": (one("TopK", ("x",), ("y", "i"), opset=9), "EZ9999", "onnx TopK has no K", PASSES),
    "Loop": (loop(), "E13010", f"{NO_PARSER}11::Loop.", "E19010"),
    "NonMaxSuppression": (suppression(5), PASSES, "", PASSES),
    "dangling input": (one("Add", ("x", "nowhere")), NOT_PLAYED, "nothing computes nowhere, an input of n", NOT_PLAYED),
    "GridSample of opset 11": (one("GridSample", ("x", "x")), NOT_PLAYED, "CANN's parser takes it", NOT_PLAYED),
    "GridSample of opset 13": (one("GridSample", ("x", "x"), opset=13), "E13010", "::13::GridSample.", "E19010"),
    "Resize with empty roi": (one("Resize", ("x", "", "s"), weights=RESIZE), PASSES, "", PASSES),
    # the registrations alone (onnx_parsers.json)
    "QuantizeLinear": (
        one("QuantizeLinear", ("x", "s", "z"), weights=SCALE, opset=13),
        "E13010",
        "13::Quant",
        "E19010",
    ),
    "DequantizeLinear": (one("DequantizeLinear", ("x", "s", "z"), weights=SCALE), "E13010", "::Dequant", "E19010"),
    "MatMulInteger": (one("MatMulInteger", ("x", "x"), opset=13), "E13010", "13::MatMulInteger.", "E19010"),
    "ConvInteger": (one("ConvInteger", ("x", "x")), "E13010", "::ConvInteger.", "E19010"),
    "QLinearConv": (one("QLinearConv", ("x", *"szxszsz"), weights=SCALE), "E13010", "::QLinearConv.", "E19010"),
    "QLinearMatMul": (one("QLinearMatMul", ("x", *"szxszsz"), weights=SCALE), "E13010", "::QLinearMatMul", "E19010"),
    "RNN": (one("RNN", ("x", "x", "x"), attributes={"hidden_size": 8}), "E13010", "11::RNN.", "E19010"),
    "Scan": (one("Scan"), "E13010", "::Scan.", "E19010"),
    "in a branch": (branches("RNN"), "E13010", "Op: inner, optype: ai.onnx::11::RNN.", "E19010"),
    "standard branches": (branches("Relu"), PASSES, "", PASSES),
    "Constant of any opset": (graph_of(FIVE, opset=19), PASSES, "", PASSES),
    # hicann/ge@ffdcbc9, onnx_parser.cc: ParseInput makes nodes of inputs, UpdateNodeNameAndOpType names nodes
    "node called as an input": (
        graph_of(helper.make_node("Relu", ["x"], ["y"], name="x")),
        "E13009",
        "Operator x al",
        PASSES,
    ),
    "nodes without names": (graph_of(*UNNAMED), PASSES, "", PASSES),
    "node without a name": (graph_of(helper.make_node("RNN", ["x"], ["y"])), "E13010", "Op: RNN_0, optype", "E19010"),
    # ConstructOriType, in both releases
    "domain without an opset": (
        graph_of(helper.make_node("Relu", ["x"], ["y"], domain="my")),
        *("E19999", "The opset of domain[my] has no responding version.", "E19999"),
    ),
    # an operator of Ascend alone: the parser has it, ONNX Runtime does not
    "NPURoiAlign": (one("NPURoiAlign", opset=13), NOT_PLAYED, "cannot compute NPURoiAlign (node n)", NOT_PLAYED),
}


@pytest.mark.parametrize(("model", "new", "words", "old"), SEEN_WITH_GE.values(), ids=SEEN_WITH_GE.keys())
def test_what_the_parser_says(emulation, model: onnx.ModelProto, new: str, words: str, old: str) -> None:
    code, text = outcome(emulation, model, NEW)
    assert (code, words in text) == (new, True), text
    assert outcome(emulation, model, OLD)[0] == old
    assert outcome(emulation, model, "8.5")[0] == new


@pytest.mark.parametrize(
    ("inputs", "seen", "words"),
    [
        (2, "EZ9999", "Call InferShapeAndType for node:nms_NonMaxSuppressionV6(NonMaxSuppressionV6) failed"),
        (3, CRASHES, "NonMaxSuppression with 3 inputs crashes the real one"),
        (4, CRASHES, "Give all five to node nms"),
        (5, PASSES, ""),
    ],
)
def test_inputs_of_non_max_suppression(emulation, inputs: int, seen: str, words: str) -> None:
    """CANN 9.0.1, ultralytics#25436: two inputs end in 255, 3 and 4 in 139, 5 in 0. Words: infershape_pass.cc."""
    code, text = outcome(emulation, suppression(inputs), NEW)
    assert (code, words in text) == (seen, True), text
    assert outcome(emulation, suppression(inputs), OLD)[0] == (PASSES if inputs == 5 else NOT_PLAYED)


def test_an_empty_input_of_non_max_suppression_is_not_known(emulation) -> None:
    model = suppression(5)
    model.graph.node[0].input[3] = ""
    code, text = outcome(emulation, model, NEW)
    assert (code, "what CANN 9.1 does with the 5 inputs of nms is not known" in text) == (NOT_PLAYED, True)


DOMAINS = ("", "com.microsoft", "ai.onnx.ml")


@pytest.mark.parametrize(
    ("release", "domains", "node_domain", "expected"),
    [
        *((release, DOMAINS, "", "E16005") for release in ("5.1", "6.0", "7.0")),
        *((release, DOMAINS, "", PASSES) for release in ("8.0", "8.5", "9.1")),
        ("7.0", ("ai.onnx", "my"), "ai.onnx", PASSES),
        ("7.0", (), "", "E16005"),
        ("7.0", ("ai.onnx",), "", PASSES),
        ("9.1", ("ai.onnx",), "", PASSES),
    ],
)
def test_several_domains(emulation, release: str, domains: Sequence[str], node_domain: str, expected: str) -> None:
    """Until CANN 7 an operator without a domain needs a model of one: Ascend/parser@069eb8b, ConstructOriType.

    The words are those of public reports, such as that of Paddle's models: two pages quote them.
    """
    model = one("Relu")
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(name, 11 if name in ("", "ai.onnx") else 1) for name in domains)
    model.graph.node[0].domain = node_domain
    code, text = outcome(emulation, model, release)
    assert code == expected, text
    if code == "E16005":
        assert f"E16005: The model has [{len(domains)}] [--domain_version] fields, but only one is allowed." in text


def test_table_of_parsers(emulation) -> None:
    """Figures of the registrations in hicann's ops-nn, ops-math, ops-cv and ge, read in August 2026."""
    table = emulation.parser.parser_ranges()
    assert {domain: len(operators) for domain, operators in table.items()} == {"ai.onnx": 258, "mmdeploy": 2, "npu": 45}
    opsets = [last - first + 1 for ranges in table["ai.onnx"].values() for first, last in ranges]
    assert sum(opsets) == 2430


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_that_ran_on_a_card_have_parsers(emulation, recipe: str) -> None:
    operators = RECIPES[recipe].split()
    for release in emulation.cann.RELEASES.values():
        assert [name for name in operators if not emulation.parser.has_parser("ai.onnx", 11, name, release)] == []


def compiled(run: Run, folder: Path, model: onnx.ModelProto, release: str):
    onnx.save(model, folder / "m.onnx")
    return run("atc", "--model=m.onnx", "--output=m", *ATC_COMMON, env={"EMULATED_CANN": release})


def test_a_crash_is_played_with_its_exit_code(run: Run, tmp_path: Path) -> None:
    """As seen: "…/atc: line 22: 147 Segmentation fault (core dumped) …/atc.bin", 139 (ultralytics#25432)."""
    result = compiled(run, tmp_path, suppression(4, ends_fixed=True), NEW)
    assert (result.code, result.stdout) == (139, "ATC start working now, please wait for a moment.\n")
    assert "Segmentation fault (core dumped) atc.bin\nThe emulated atc plays this crash: NonMaxSupp" in result.stderr
    assert not (tmp_path / "m.om").exists()
    explained = explain_atc_failure(result.stdout + result.stderr, result.code) or ""
    assert "SIGSEGV" in explained and "The operator that it named last is nms." in explained


@pytest.mark.parametrize(
    "model",
    [suppression(5, ends_fixed=True), one("Resize", ("x", "", "s"), weights=RESIZE)],
    ids=["NonMaxSuppression", "Resize with empty roi"],
)
def test_what_the_real_one_takes_compiles(run: Run, tmp_path: Path, model: onnx.ModelProto) -> None:
    result = compiled(run, tmp_path, model, NEW)
    assert result.code == 0, result.stdout


def test_form_of_a_plugins_error(run: Run, tmp_path: Path) -> None:
    """Ascend/runtime, error_manager.cc, AssembleInnerErrorMessage."""
    lines = compiled(run, tmp_path, one("Clip"), NEW).stdout.splitlines()
    assert lines[2] == "EZ9999: Internal error!"
    assert lines[3].endswith("Inner_Error(EZ9999):  At least 'min' or 'max' must not be None or Empty")
