"""EMULATED_CANN: which release of atc is played."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from yolact_ascend.targets.ascend.explain import explain_atc_failure

from .conftest import ATC_COMMON, Result, Run, small_model
from .test_emulated_atc import START

ORIGIN = r"\[PID: \d+\] \d{4}-\d\d-\d\d-\d\d:\d\d:\d\d\.\d{3}\.\d{3} "
RELEASES = ("5.1", "6.0", "7.0", "8.0", "8.5", "9.1")


def atc(run: Run, folder: Path, release: str, *flags: str, opset: int = 11) -> Result:
    onnx.save(small_model(opset=opset, batch=1), folder / "m.onnx")
    return run("atc", "--model", "m.onnx", "--output", "m", *ATC_COMMON, *flags, env={"EMULATED_CANN": release})


def relu_model(opset: int) -> onnx.ModelProto:
    """x [1,4] -> y [1,4], in an opset of any age."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], name="n")], "relu", values[:1], values[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


@pytest.mark.parametrize("release", RELEASES)
def test_header_names_the_release(run: Run, tmp_path: Path, release: str) -> None:
    assert atc(run, tmp_path, release).code == 0
    assert json.loads((tmp_path / "m.om").read_bytes().split(b"\n", 2)[1])["cann"] == release


def test_empty_is_the_default(run: Run, tmp_path: Path) -> None:
    assert atc(run, tmp_path, "").code == 0
    assert json.loads((tmp_path / "m.om").read_bytes().split(b"\n", 2)[1])["cann"] == "8.0"


@pytest.mark.parametrize(
    ("release", "opset", "accepted"),
    [
        ("5.1", 8, False),
        ("5.1", 9, True),
        ("5.1", 13, True),
        ("5.1", 14, False),
        ("6.0", 13, True),
        ("6.0", 14, False),
        ("7.0", 8, False),
        ("7.0", 18, True),
        ("8.0", 8, True),
        ("8.0", 18, True),
        ("8.0", 19, False),
        ("9.1", 18, True),
    ],
)
def test_opsets(run: Run, tmp_path: Path, release: str, opset: int, accepted: bool) -> None:
    if accepted and opset < 11:  # the small model needs opset 11
        onnx.save(relu_model(opset), tmp_path / "relu.onnx")
        flags = ["--model=relu.onnx", "--output=relu", *ATC_COMMON]
        assert run("atc", *flags, env={"EMULATED_CANN": release}).code == 0
        return
    result = atc(run, tmp_path, release, opset=opset)
    if accepted:
        assert result.code == 0
    else:
        assert f"No parser is registered for Op [Conv_0, optype [ai.onnx::{opset}::Conv]]" in result.stdout


@pytest.mark.parametrize("release", RELEASES)
def test_precision_mode_v2_is_newer(run: Run, tmp_path: Path, release: str) -> None:
    result = atc(run, tmp_path, release, "--precision_mode_v2=origin")
    if release not in ("5.1", "6.0"):
        assert result.code == 0
    else:
        assert (result.code, result.stderr) == (255, "ERROR: unknown command line flag 'precision_mode_v2'\n")


@pytest.mark.parametrize("release", RELEASES)
def test_form_of_an_error(run: Run, tmp_path: Path, release: str) -> None:
    line = atc(run, tmp_path, release, "--input_format=NHWC").stdout.splitlines()[2]
    form = {"8.0": rf"E10001: {ORIGIN}", "8.5": rf"{ORIGIN}Invalid_Argument\(E10001\): ", "9.1": rf"{ORIGIN}Inva.*\): "}
    value = "NHWC for parameter --input_format is" if release in ("8.5", "9.1") else r"\[NHWC\] for parameter \["
    assert re.match(form.get(release, "E10001: ") + "Value " + value, line)


@pytest.mark.parametrize("release", ["8.5", "9.1"])
def test_words_and_codes_since_cann_8_5(run: Run, tmp_path: Path, release: str) -> None:
    """Ascend/runtime, error_manager.cc (the form); Ascend/ge, docs/en/user_guides/error_codes (titles and texts)."""
    output = atc(run, tmp_path, release, opset=19).stdout
    assert (explain_atc_failure(output, 255) or "").startswith("E13010: this CANN has no ONNX parser")
    lines = output.splitlines()
    text = "No operator plugin is registered for Op: Conv_0, optype: ai.onnx::19::Conv."
    assert re.fullmatch(rf"{ORIGIN}Not_Supported_Operator\(E13010\): {re.escape(text)}", lines[2])
    assert lines[3].startswith("        Solution: ") and lines[4] == "TraceBack (most recent call last):"
    lines = atc(run, tmp_path, release, "--out_nodes=none").stdout.splitlines()
    assert lines[2] == "E19999: Internal error!"
    assert re.fullmatch(
        rf"E19999{ORIGIN}Inner_Error\(E19999\):  User specified tensor\[none\] is not output of graph\.", lines[3]
    )
    flags = ["--model=m.onnx", "--framework=5", "--output=m", "--soc_version=Ascend310P"]
    text = "Invalid_Argument(EE1001): The argument is invalid. Reason: Soc version Ascend310P is"
    assert text in run("atc", *flags, env={"EMULATED_CANN": release}).stdout


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda graph: graph.input.pop(), "E16001): The model has no input node."),
        (lambda graph: graph.output.__delitem__(slice(None)), "E16001): The model has no output node."),
        (lambda graph: setattr(graph.node[1], "name", graph.node[0].name), "E13009): Operator Conv_0 already exists"),
    ],
    ids=["no input", "no output", "two of one name"],
)
def test_graphs_that_the_parser_of_8_5_refuses(run: Run, tmp_path: Path, damage: Callable, text: str) -> None:
    """What the open ONNX parser of August 2026 says (hicann/ge@ffdcbc9, built and run offline)."""
    model = small_model(batch=1)
    damage(model.graph)
    onnx.save(model, tmp_path / "m.onnx")
    flags = ["--model", "m.onnx", "--output", "m", *ATC_COMMON]
    assert text in run("atc", *flags, env={"EMULATED_CANN": "9.1"}).stdout
    assert text.split("): ")[1] not in run("atc", *flags, env={"EMULATED_CANN": "8.0"}).stdout


def test_unknown_release(run: Run, tmp_path: Path) -> None:
    result = atc(run, tmp_path, "9.9")
    text = f"ERROR: EMULATED_CANN=9.9 is none of the releases that the emulated atc plays: {', '.join(RELEASES)}\n"
    assert (result.code, result.stdout, result.stderr) == (255, "", text)
    assert START not in result.stdout
