"""emulation/bin/atc."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from .conftest import ATC_COMMON, Result, Run, sample, small_model, two_input_model

START = "ATC start working now, please wait for a moment."
SUCCESS = "ATC run success, welcome to the next use."
FAILURE = "ATC run failed, Please check the detail log, Try 'atc --help' for more information"
GUIDE = (
    "--model small.onnx --framework 5 --output small_bs4 --log error --soc_version Ascend310P3 "
    "--input_shape image:4,3,4,4"
)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with small.onnx, fixed.onnx (batch 2), sum.onnx, and files that are no model."""
    onnx.save(small_model(), tmp_path / "small.onnx")
    onnx.save(small_model(batch=2), tmp_path / "fixed.onnx")
    onnx.save(two_input_model(), tmp_path / "sum.onnx")
    onnx.save(small_model(opset=19), tmp_path / "opset19.onnx")
    onnx.save(small_model(opset=7), tmp_path / "opset7.onnx")
    onnx.save(small_model(domain="my.ops"), tmp_path / "custom.onnx")
    broken = small_model()
    broken.graph.node[0].attribute[0].ints.extend([1])
    onnx.save(broken, tmp_path / "broken.onnx")
    (tmp_path / "text.onnx").write_text("no model\n")
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    return tmp_path


def with_option(flag: str, value: str | None) -> list[str]:
    """The guide's command with another value for `flag`, or without it."""
    words = GUIDE.split()
    if flag in words:
        index = words.index(flag)
        del words[index : index + 2]
    return words if value is None else [*words, f"{flag}={value}"]


def read_header(path: Path) -> tuple[bytes, dict[str, Any], bytes]:
    """First line, header and model of an emulated .om, read without the code under test."""
    magic, header, model = path.read_bytes().split(b"\n", 2)
    return magic, json.loads(header), model


def assert_failed(result: Result, text: str, work: Path) -> None:
    assert result.code == 255
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[:2] == [START, FAILURE]
    assert text in lines[2]
    assert list(work.glob("**/*.om")) == []


def test_guides_command_writes_an_om(run: Run, work: Path) -> None:
    result = run("atc", *GUIDE.split())
    assert (result.code, result.stdout, result.stderr) == (0, f"{START}\n{SUCCESS}\n", "")
    magic, header, model = read_header(work / "small_bs4.om")
    assert magic == b"emulated OM version 1, CPU only, not loadable on an NPU"
    assert header["soc_version"] == "Ascend310P3"
    assert header["atc_arguments"] == GUIDE.split()
    assert header["onnx_sha256"] == hashlib.sha256((work / "small.onnx").read_bytes()).hexdigest()
    assert header["model_sha256"] == hashlib.sha256(model).hexdigest()
    assert header["inputs"] == [{"name": "image", "dtype": "float32", "shape": [4, 3, 4, 4], "format": "NCHW"}]
    outputs = [(tensor["name"], tensor["shape"]) for tensor in header["outputs"]]
    assert outputs == [("up", [4, 2, 8, 8]), ("mean", [4, 2])]


def test_shape_arithmetic_is_folded(run: Run, work: Path) -> None:
    run("atc", *GUIDE.split())
    folded = onnx.load_model_from_string(read_header(work / "small_bs4.om")[2])
    operators = {node.op_type for node in folded.graph.node}
    assert operators.isdisjoint({"Shape", "Gather", "Slice", "Concat", "Mul"})
    assert operators >= {"Conv", "Resize"}
    assert [opset.domain for opset in folded.opset_import] == [""]
    onnx.checker.check_model(folded)


def test_om_computes_what_the_onnx_computes(run: Run, work: Path) -> None:
    import onnxruntime

    run("atc", *GUIDE.split())
    batch = np.stack([sample(index) for index in range(4)])
    results = []
    for model in ((work / "small.onnx").read_bytes(), read_header(work / "small_bs4.om")[2]):
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        results.append(session.run(["up", "mean"], {"image": batch}))
    for expected, found in zip(*results):
        np.testing.assert_allclose(found, expected, atol=1e-6)  # fp32 sums of 27 products may change their order


def test_same_arguments_same_bytes(run: Run, work: Path) -> None:
    run("atc", *GUIDE.split())
    first = (work / "small_bs4.om").read_bytes()
    run("atc", *GUIDE.split())
    assert (work / "small_bs4.om").read_bytes() == first


def test_file_mode_and_no_temporary_files(run: Run, work: Path) -> None:
    before = set(work.iterdir())
    run("atc", *GUIDE.split())
    assert set(work.iterdir()) - before == {work / "small_bs4.om"}
    assert stat.S_IMODE((work / "small_bs4.om").stat().st_mode) == 0o640


def test_failure_leaves_an_older_om_alone(run: Run, work: Path) -> None:
    (work / "small_bs4.om").write_bytes(b"older")
    assert run("atc", *with_option("--model", "broken.onnx")).code == 255
    assert (work / "small_bs4.om").read_bytes() == b"older"


ACCEPTED = {
    "equals_signs": ["--model=small.onnx", "--output=o", "--input_shape=image:4,3,4,4", *ATC_COMMON],
    "static_model": ["--model", "fixed.onnx", "--output", "o", *ATC_COMMON],
    "static_model_same_shape": [
        "--model",
        "fixed.onnx",
        "--output",
        "o",
        "--input_shape",
        "image:2,3,4,4",
        *ATC_COMMON,
    ],
    "other_order": ["--model", "sum.onnx", "--output", "o", "--input_shape", "right:2,2;left:2,2", *ATC_COMMON],
    "new_folder": ["--model", "fixed.onnx", "--output", "a/b/o", *ATC_COMMON],
    "input_format": ["--model", "fixed.onnx", "--output", "o", "--input_format=NCHW", *ATC_COMMON],
    "mode_0": ["--model", "fixed.onnx", "--output", "o", "--mode=0", *ATC_COMMON],
    "opset_18": ["--model", "opset18.onnx", "--output", "o", "--input_shape", "image:4,3,4,4", *ATC_COMMON],
}


@pytest.mark.parametrize("arguments", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepted(run: Run, work: Path, arguments: list[str]) -> None:
    onnx.save(small_model(opset=18), work / "opset18.onnx")
    result = run("atc", *arguments)
    assert (result.code, result.stdout) == (0, f"{START}\n{SUCCESS}\n")
    assert [path.name for path in work.glob("**/*.om")] == ["o.om"]


@pytest.mark.parametrize(("output_type", "dtype"), [("FP16", "float16"), ("FP32", "float32")])
def test_output_type(run: Run, work: Path, output_type: str, dtype: str) -> None:
    run("atc", *with_option("--output_type", output_type))
    outputs = read_header(work / "small_bs4.om")[1]["outputs"]
    assert [(tensor["name"], tensor["dtype"]) for tensor in outputs] == [("up", dtype), ("mean", dtype)]


@pytest.mark.parametrize(("input_format", "expected"), [("NCHW", "NCHW"), ("ND", "ND"), ("NCDHW", "ND")])
def test_input_format(run: Run, work: Path, input_format: str, expected: str) -> None:
    run("atc", *with_option("--input_format", input_format))
    assert read_header(work / "small_bs4.om")[1]["inputs"][0]["format"] == expected


SAMPLE = '["input_name1:n1,c1,h1,w1;input_name2:n2,c2,h2,w2"]'
FAILURES = {
    "free_batch": ("--input_shape", None, "E10001: Value [-1] for parameter [image] is invalid."),
    "contradiction": ("--input_shape", "image:4,3,5,4", "E10001: Value [image:4,3,5,4] for parameter [--input_shape]"),
    "input_format": ("--input_format", "NHWC", "E10001: Value [NHWC] for parameter [--input_format] is invalid."),
    "model_missing": ("--model", "gone.onnx", "E10001: Value [gone.onnx] for parameter [--model]"),
    "no_colon": (
        "--input_shape",
        "4,3,4,4",
        f'size not equal to 2 split by ":". The value must be formatted as {SAMPLE}.',
    ),
    "no_name": ("--input_shape", ":4,3,4,4", "E10002: Value [:4,3,4,4] for parameter [--input_shape] is invalid."),
    "empty_dim": ("--input_shape", "image:4,,4,4", "E10002: Value [image:4,,4,4]"),
    "dim_is_text": ("--input_shape", "image:4,3,x,4", "E10002: Value [image:4,3,x,4]"),
    "dim_is_broken": ("--input_shape", "image:4,3,4.0,4", "E10002: "),
    "empty_entry": ("--input_shape", "image:4,3,4,4;", "E10002: "),
    "empty_shape": ("--input_shape", "", "E10004: Value for [--input_shape] is empty."),
    "empty_model": ("--model", "", "E10004: Value for [--model] is empty."),
    "framework_missing": ("--framework", None, "E10007: [--framework] is required. The value must be [0(Caffe)"),
    "framework_unknown": ("--framework", "4", "E10007: [--framework] is required."),
    "log_level": ("--log", "loud", "E10010: Value [loud] for parameter [--log] is invalid."),
    "dim_zero": ("--input_shape", "image:0,3,4,4", "E10011: Value [image:0,3,4,4] for parameter [--input_shape]"),
    "dim_negative": ("--input_shape", "image:-1,3,4,4", "The error value in the shape is [-1]."),
    "input_unknown": ("--input_shape", "images:4,3,4,4", "E10016: Opname [images] specified in [--input_shape]"),
    "output_is_folder": ("--output", "folder", "E10022: Path [folder] for parameter [--output]"),
    "output_ends_in_slash": ("--output", "new/", "E10022: Path [new/] for parameter [--output]"),
    "model_is_text": ("--model", "text.onnx", "E10041: Failed to load the model from [text.onnx]."),
    "model_is_empty": ("--model", "empty.onnx", "E10041: Failed to load the model from [empty.onnx]."),
    "model_is_folder": ("--model", "folder", "E10041: Failed to load the model from [folder]."),
    "model_is_broken": ("--model", "broken.onnx", "E10041: Failed to load the model from [broken.onnx]."),
    "rank": ("--input_shape", "image:4,3,4", "E10049: Dimension count [3] configured in --input_shape"),
    "model_not_given": ("--model", None, "E10054: The required parameter [--model] for ATC is empty."),
    "output_not_given": ("--output", None, "E10054: The required parameter [--output] for ATC is empty."),
    "soc_not_given": ("--soc_version", None, "E10054: The required parameter [--soc_version] for ATC is empty."),
    "opset_19": ("--model", "opset19.onnx", "E19010: No parser is registered for Op [Conv_0, optype [ai.onnx::19::"),
    "opset_7": ("--model", "opset7.onnx", "E19010: No parser is registered for Op [Conv_0, optype [ai.onnx::7::"),
    "custom_operator": (
        "--model",
        "custom.onnx",
        "E19010: No parser is registered for Op [Conv_0, optype [my.ops::1::Conv]]",
    ),
    "soc_without_prefix": ("--soc_version", "310P3", "EE1001: The argument is invalid.Reason: Soc version [310P3]"),
    "soc_abbreviated": ("--soc_version", "Ascend310P", "EE1001: "),
    "soc_unknown": ("--soc_version", "Ascend999", "EE1001: "),
    "unknown_flag": ("--batch", "4", "ERROR: unknown command line flag 'batch'"),
    "framework_caffe": ("--framework", "0", "E10055: The operation is not supported."),
    "shape_range": ("--input_shape", "image:1~8,3,4,4", "E10055: "),
    "output_type_uint8": ("--output_type", "UINT8", "E10055: "),
    "output_type_per_node": ("--output_type", "Conv_0:0:FP16", "E10055: "),
    "mode_1": ("--mode", "1", "E10055: "),
    "precision_mode": (
        "--precision_mode",
        "force_fp32",
        "Reason: the emulated atc does not implement --precision_mode.",
    ),
    "insert_op_conf": ("--insert_op_conf", "aipp.cfg", "does not implement --insert_op_conf."),
    "dynamic_batch_size": ("--dynamic_batch_size", "1,2", "does not implement --dynamic_batch_size."),
}


@pytest.mark.parametrize(("flag", "value", "text"), FAILURES.values(), ids=FAILURES.keys())
def test_failures(run: Run, work: Path, flag: str, value: str | None, text: str) -> None:
    assert_failed(run("atc", *with_option(flag, value)), text, work)


def test_input_missing_from_the_shapes(run: Run, work: Path) -> None:
    words = ["--model", "sum.onnx", "--output", "o", "--input_shape", "left:2,2", *ATC_COMMON]
    assert_failed(run("atc", *words), "E10001: Value [-1] for parameter [right] is invalid.", work)


def test_flag_without_value(run: Run, work: Path) -> None:
    result = run("atc", *GUIDE.split(), "--output_type")
    assert_failed(result, "ERROR: flag '--output_type' is missing its argument", work)


def test_value_without_flag(run: Run, work: Path) -> None:
    assert_failed(run("atc", *GUIDE.split(), "mask:4,1"), "ERROR: unknown command line argument 'mask:4,1'", work)


def test_output_that_cannot_be_created(run: Run, work: Path) -> None:
    assert_failed(run("atc", *with_option("--output", "small.onnx/o")), "E10001: Value [small.onnx/o.om]", work)


def test_data_dependent_output_is_refused(run: Run, work: Path) -> None:
    helper = onnx.helper
    graph = helper.make_graph(
        [helper.make_node("NonZero", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.INT64, [1, "n"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    onnx.save(model, work / "nonzero.onnx")
    result = run("atc", "--model", "nonzero.onnx", "--output", "o", *ATC_COMMON)
    assert_failed(result, "the shape of output y depends on data", work)


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help(run: Run, flag: str) -> None:
    result = run("atc", flag)
    assert result.code == 0
    assert all(f"--{name}" in result.stdout for name in ("model", "framework", "output", "soc_version", "input_shape"))


def test_runs_without_pythonpath(run: Run, work: Path) -> None:
    assert run("atc", *GUIDE.split(), env={"PYTHONPATH": ""}).code == 0
