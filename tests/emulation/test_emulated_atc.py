"""emulation/bin/atc."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import stat
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from .conftest import ATC_COMMON, EMULATION, Result, Run, sample, small_model, two_input_model

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
    (tmp_path / "lower.cfg").write_text("OpType::conv\n")
    (tmp_path / "unknown.cfg").write_text("Conv_0\nConv_9\n")
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


# what CANN 8 puts between a code and its text
ORIGIN = re.compile(r"(?<=: )\[PID: \d+\] \d{4}-\d\d-\d\d-\d\d:\d\d:\d\d\.\d{3}\.\d{3} ")


def assert_failed(result: Result, text: str, work: Path) -> None:
    assert result.code == 255
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[:2] == [START, FAILURE]
    line, origins = ORIGIN.subn("", lines[2])
    assert text in line
    assert origins == 1
    assert list(work.glob("**/*.om")) == []


def assert_bad_command_line(result: Result, text: str, work: Path) -> None:
    assert (result.code, result.stderr) == (255, f"ERROR: {text}\n")
    assert result.stdout.splitlines() == [START, FAILURE]
    assert list(work.glob("**/*.om")) == []


def test_guides_command_writes_an_om(run: Run, work: Path) -> None:
    result = run("atc", *GUIDE.split())
    assert (result.code, result.stdout, result.stderr) == (0, f"{START}\n{SUCCESS}\n", "")
    magic, header, model = read_header(work / "small_bs4.om")
    assert magic == b"emulated OM version 2, CPU only, not loadable on an NPU"
    assert header["soc_version"] == "Ascend310P3"
    assert (header["cann"], header["precision_mode"]) == ("8.0", "force_fp16")
    unused = ("keep_dtype", "aipp", "input_fp16_nodes", "out_nodes", "output_type")
    assert [header[name] for name in unused] == [[], [], [], "", ""]
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

    run("atc", *GUIDE.split(), "--precision_mode", "must_keep_origin_dtype")  # float16 has tests of its own
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
    (work / ".small_bs4.om.abc").touch()  # of one that was killed
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
    # hicann/ge@ffdcbc9, option_utils.cc, ParseInputShape: StringUtils::Trim of names and sizes
    "blanks": ["--model=small.onnx", "--output=o", "--input_shape", " image : 4, 3 ,4,4 ", *ATC_COMMON],
    "other_order": ["--model", "sum.onnx", "--output", "o", "--input_shape", "right:2,2;left:2,2", *ATC_COMMON],
    "new_folder": ["--model", "fixed.onnx", "--output", "a/b/o", *ATC_COMMON],
    "input_format": ["--model", "fixed.onnx", "--output", "o", "--input_format=NCHW", *ATC_COMMON],
    "implmode": [*["--model", "fixed.onnx", "--output", "o", "--op_select_implmode=high_precision"], *ATC_COMMON],
    "implmode_list": [
        *[
            "--model",
            "fixed.onnx",
            "--output",
            "o",
            "--op_select_implmode=high_precision",
            "--optypelist_for_implmode=Gelu",
        ],
        *ATC_COMMON,
    ],
    "small_channel": [*["--model", "fixed.onnx", "--output", "o", "--enable_small_channel=1"], *ATC_COMMON],
    "dashes_for_underscores": [*["-model", "fixed.onnx", "-output", "o", "--input-format", "NCHW"], *ATC_COMMON],
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


OUTPUTS = {
    "order": (["--out_nodes=mean;up"], {"mean": "float32", "up": "float32"}),
    "one": (["--out_nodes=mean"], {"mean": "float32"}),
    "inner node": (["--out_nodes=Conv_0:0"], {"convolved": "float32"}),
    "inner node, type": (["--out_nodes=Conv_0:0", "--output_type=Conv_0:0:FP16"], {"convolved": "float16"}),
    "one of two": (
        ["--out_nodes=Flatten_8:0;Conv_0:0", "--output_type=Conv_0:0:FP16"],
        {"mean": "float32", "convolved": "float16"},
    ),
    "all": (["--out_nodes=mean;up", "--output_type=FP16"], {"mean": "float16", "up": "float16"}),
}


@pytest.mark.parametrize(("flags", "expected"), OUTPUTS.values(), ids=OUTPUTS.keys())
def test_out_nodes(run: Run, work: Path, flags: list[str], expected: dict[str, str]) -> None:
    import onnxruntime

    result = run("atc", *GUIDE.split(), *flags)
    assert result.code == 0, result.stdout
    header, model = read_header(work / "small_bs4.om")[1:]
    assert {tensor["name"]: tensor["dtype"] for tensor in header["outputs"]} == expected
    assert [tensor["name"] for tensor in header["outputs"]] == list(expected)
    assert header["out_nodes"] == flags[0].partition("=")[2]
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    arrays = session.run(None, {"image": np.zeros((4, 3, 4, 4), np.float32)})
    assert [array.shape for array in arrays] == [tuple(tensor["shape"]) for tensor in header["outputs"]]
    assert [array.dtype.name for array in arrays] == list(expected.values())


@pytest.mark.parametrize("flags", [[], ["--precision_mode=must_keep_origin_dtype"]], ids=["fp16", "fp32"])
def test_input_fp16_nodes(run: Run, work: Path, flags: list[str]) -> None:
    import onnxruntime

    result = run("atc", *GUIDE.split(), "--input_fp16_nodes=image", *flags)
    assert result.code == 0, result.stdout
    header, model = read_header(work / "small_bs4.om")[1:]
    assert header["inputs"] == [{"name": "image", "dtype": "float16", "shape": [4, 3, 4, 4], "format": "NCHW"}]
    assert header["input_fp16_nodes"] == ["image"]
    run("atc", *with_option("--output", "plain"), *flags)
    plain = read_header(work / "plain.om")[2]
    batch = np.stack([sample(index) for index in range(4)]).astype(np.float16)
    results = []
    for content, image in ((model, batch), (plain, batch.astype(np.float32))):
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        results.append(session.run(None, {"image": image}))
    for found, expected in zip(*results):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("soc", "expected"), [("Ascend310P3", 65504.0), ("Ascend910B3", np.inf)])
def test_float16_output_beyond_the_range(run: Run, work: Path, soc: str, expected: float) -> None:
    import onnxruntime

    model = small_model(batch=1)
    model.graph.initializer[0].raw_data = np.full((2, 3, 3, 3), 1e4, np.float32).tobytes()
    onnx.save(model, work / "large.onnx")
    flags = ["--precision_mode=must_keep_origin_dtype", "--output_type=FP16"]
    words = ["--model", "large.onnx", "--output", "o", "--framework=5", "--soc_version", soc, *flags]
    assert run("atc", *words).code == 0
    session = onnxruntime.InferenceSession(read_header(work / "o.om")[2], providers=["CPUExecutionProvider"])
    up, mean = session.run(None, {"image": np.ones((1, 3, 4, 4), np.float32)})
    assert (up.max(), mean.max()) == (expected, expected)


@pytest.mark.parametrize(("input_format", "expected"), [("NCHW", "NCHW"), ("ND", "ND"), ("NCDHW", "ND")])
def test_input_format(run: Run, work: Path, input_format: str, expected: str) -> None:
    run("atc", *with_option("--input_format", input_format))
    assert read_header(work / "small_bs4.om")[1]["inputs"][0]["format"] == expected


def test_input_shape_replaces_fixed_dimensions(run: Run, work: Path) -> None:
    """GE's OnnxDataParser::ParseInputFromUser (parser/onnx/onnx_data_parser.cc, @ffdcbc9) compares ranks only.

    ModelZoo's LPRNet guide relies on it: onnxsim fixes the batch to 1, then atc compiles batches of 4 to 64.
    """
    model = onnx.shape_inference.infer_shapes(small_model(batch=1))
    assert model.graph.value_info, "shapes that follow from the old batch"
    onnx.save(model, work / "fixed.onnx")
    result = run("atc", *with_option("--model", "fixed.onnx"))
    assert result.code == 0, result.stdout
    assert read_header(work / "small_bs4.om")[1]["inputs"][0]["shape"] == [4, 3, 4, 4]
    assert [output["shape"] for output in read_header(work / "small_bs4.om")[1]["outputs"]] == [[4, 2, 8, 8], [4, 2]]


SAMPLE = '["input_name1:n1,c1,h1,w1;input_name2:n2,c2,h2,w2"]'
FAILURES = {
    "free_batch": ("--input_shape", None, "E10001: Value [-1] for parameter [image] is invalid."),
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
    "dim_negative": ("--input_shape", "image:-2,3,4,4", "The error value in the shape is [-2]."),
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
    "framework_caffe": ("--framework", "0", "E10055: The operation is not supported."),
    "shape_range": ("--input_shape", "image:1~8,3,4,4", "E10055: "),
    # -1 without a dynamic flag: hicann/ge@ffdcbc9, option_utils.cc, CheckAndTransferInputShapeToRange
    "shape_range_from_1": (
        "--input_shape",
        "image: -1,3,4,4",
        "image: -1,3,4,4 is a range, the emulated",
    ),
    "scalar": ("--input_shape", "image:", "E10049: Dimension count [0] configured in --input_shape"),
    "output_type_uint8": ("--output_type", "UINT8", "E10055: "),
    "mode_1": ("--mode", "1", "E10055: "),
    "switch": (
        "--sparsity",
        "2",
        "E10006: Value [2] for parameter [--sparsity] is invalid. The value must be either 1",
    ),
    "small_channel": ("--enable_small_channel", "true", "E10006: Value [true] for parameter [--enable_small_channel]"),
    "mode_unknown": ("--mode", "2", "E10001: Value [2] for parameter [--mode] is invalid. Reason: The value is not wi"),
    "precision_mode": (
        "--precision_mode",
        "fp16",
        "E10001: Value [fp16] for parameter [--precision_mode] is invalid. Reason: The value is not within the range "
        "of values. The valid range is [allow_fp32_to_bf16] [allow_fp32_to_fp16] ",
    ),
    "precision_mode_v2": ("--precision_mode_v2", "force_fp16", "E10001: Value [force_fp16] for parameter [--precision"),
    "mix_precision": ("--precision_mode", "allow_mix_precision", "E10055: The operation is not supported. Reason: the"),
    "mixed_bfloat16": (
        "--precision_mode_v2",
        "mixed_bfloat16",
        "E10055: The operation is not supported. Reason: the em",
    ),
    "implmode": (
        "--op_select_implmode",
        "fast",
        "E10001: Value [fast] for parameter [--op_select_implmode] is invalid.",
    ),
    "implmode_list_alone": (
        "--optypelist_for_implmode",
        "Gelu",
        "E10001: Value [] for parameter [--op_select_implmode]",
    ),
    "keep_dtype_missing": ("--keep_dtype", "gone.cfg", "E10001: Value [gone.cfg] for parameter [--keep_dtype]"),
    "keep_dtype_type": (
        "--keep_dtype",
        "lower.cfg",
        "E10003: Value [lower.cfg] for parameter [--keep_dtype] is invalid.",
    ),
    "keep_dtype_unknown": (
        "--keep_dtype",
        "unknown.cfg",
        "E10055: The operation is not supported. Reason: --keep_dtype",
    ),
    "fp16_input_unknown": ("--input_fp16_nodes", "images", "E10016: Opname [images] specified in [--input_fp16_nodes]"),
    "fp16_input_not_split": (
        "--input_fp16_nodes",
        "image,mask",
        "E10016: Opname [image,mask] specified in [--input_fp1",
    ),
    "fp16_input_inside": (
        "--input_fp16_nodes",
        "Conv_0",
        "E10017: Input Op [Conv_0] specified in [--input_fp16_nodes]",
    ),
    "out_node_unknown": (
        "--out_nodes",
        "Conv_9:0",
        "E10016: Opname [Conv_9] specified in [--out_nodes] is not found in",
    ),
    "out_node_index": (
        "--out_nodes",
        "Conv_0:1",
        "E10003: Value [Conv_0] for parameter [--out_nodes] is invalid. Reaso",
    ),
    "out_node_no_index": (
        "--out_nodes",
        "Conv_0:x",
        "E10001: Value [Conv_0:x] for parameter [--out_nodes] is invalid.",
    ),
    "out_node_form": (
        "--out_nodes",
        "Conv_0:0:1",
        "E10001: Value [Conv_0:0:1] for parameter [--out_nodes] is invalid.",
    ),
    "out_tensor_unknown": (
        "--out_nodes",
        "up;down",
        "E19999: Inner Error! User specified tensor[down] is not output of",
    ),
    "out_nodes_mixed": (
        "--out_nodes",
        "up;Conv_0:0",
        "Reason: Only one of index, top_name and output_name can be used.",
    ),
    "out_nodes_twice": (
        "--out_nodes",
        "up;up",
        "E10055: The operation is not supported. Reason: --out_nodes up;up name",
    ),
    "output_type": (
        "--output_type",
        "fp16",
        "E10001: Value [fp16] for parameter [--output_type] is invalid. Reason: The",
    ),
    "output_type_form": (
        "--output_type",
        "Conv_0:FP16",
        'Reason: The parameter is invalid. Valid format "opname:index:',
    ),
    "output_type_index": (
        "--output_type",
        "Conv_0:x:FP16",
        "E10001: Value [x] for parameter [--output_type] is invalid.",
    ),
    "output_type_alone": (
        "--output_type",
        "Conv_0:0:FP16",
        "The nodes set in --output_type must be found in --out_nodes",
    ),
    "insert_op_conf_and_more": ("--insert_op_conf", "lower.cfg", "E13005: Failed to parse file [lower.cfg]."),
    "dynamic_batch_size": ("--dynamic_batch_size", "1,2", "does not implement --dynamic_batch_size."),
}


@pytest.mark.parametrize(("flag", "value", "text"), FAILURES.values(), ids=FAILURES.keys())
def test_failures(run: Run, work: Path, flag: str, value: str | None, text: str) -> None:
    assert_failed(run("atc", *with_option(flag, value)), text, work)


def test_both_precision_flags(run: Run, work: Path) -> None:
    result = run("atc", *GUIDE.split(), "--precision_mode=force_fp16", "--precision_mode_v2=fp16")
    text = "E10056: Cannot configure both parameters [--precision_mode] and [--precision_mode_v2] simultaneously."
    assert_failed(result, text, work)


def test_every_code_has_a_case() -> None:
    tree = ast.parse((EMULATION / "ascend_emulation" / "atc_errors.py").read_text())
    (texts,) = (node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "_TEXTS")
    cases = "".join(path.read_text() for path in Path(__file__).parent.glob("test_emulated_atc*.py"))
    assert {key.value for key in texts.keys} == set(re.findall(r"\b(E\d{5}|E[A-Z]\d{4})\)?: ", cases)) - {"E13010"}


def test_input_missing_from_the_shapes(run: Run, work: Path) -> None:
    words = ["--model", "sum.onnx", "--output", "o", "--input_shape", "left:2,2", *ATC_COMMON]
    assert_failed(run("atc", *words), "E10001: Value [-1] for parameter [right] is invalid.", work)


BAD_COMMAND_LINES = {
    "unknown_flag": (["--batch=4"], "unknown command line flag 'batch'"),
    "abbreviated_flag": (["--prec=force_fp16"], "unknown command line flag 'prec'"),
    "no_value": (["--output_type"], "flag '--output_type' is missing its argument"),
    "twice": (["--framework=5"], "flag '--framework' is given more than once, which the emulated atc refuses"),
    "twice_spelled_otherwise": (
        ["-soc-version", "Ascend310P3"],
        "flag '--soc_version' is given more than once, which the emulated atc refuses",
    ),
    "stray_value": (["mask:4,1"], "Non-option parameter: mask:4,1"),
}


@pytest.mark.parametrize(("words", "text"), BAD_COMMAND_LINES.values(), ids=BAD_COMMAND_LINES.keys())
def test_bad_command_lines(run: Run, work: Path, words: list[str], text: str) -> None:
    assert_bad_command_line(run("atc", *GUIDE.split(), *words), text, work)


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


def test_no_arguments_are_no_request_for_help(run: Run, work: Path) -> None:
    result = run("atc")
    assert_failed(result, "E10007: [--framework] is required.", work)


def test_help_among_other_flags(run: Run, work: Path) -> None:
    result = run("atc", *GUIDE.split(), "--help")
    assert (result.code, result.stdout) == (0, run("atc", "--help").stdout)
    assert list(work.glob("*.om")) == []


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help(run: Run, flag: str) -> None:
    result = run("atc", flag)
    assert result.code == 0
    assert all(f"--{name}" in result.stdout for name in ("model", "framework", "output", "soc_version", "input_shape"))


def test_runs_without_pythonpath(run: Run, work: Path) -> None:
    assert run("atc", *GUIDE.split(), env={"PYTHONPATH": ""}).code == 0
