"""A compiled model on disk: what its side-car says, and which model a run refuses."""

import json
import re
from dataclasses import replace

import pytest
from factories import describe_network

from yolact_ascend.errors import ArtifactError
from yolact_ascend.files import sha256_file
from yolact_ascend.models.config import CONFIGS, DEFAULT_CONFIG
from yolact_ascend.models.description import to_json
from yolact_ascend.models.inputs import INPUT_DTYPES, input_tensor
from yolact_ascend.targets.compiled import (
    SCHEMA,
    Need,
    describe_model,
    find_made_for,
    read_sidecar,
    require_inputs,
    require_model,
    write_sidecar,
)
from yolact_ascend.targets.folder import sidecar_file
from yolact_ascend.tensors import TensorSpec

INPUT, UINT8_INPUT = (input_tensor(CONFIGS[DEFAULT_CONFIG], dtype) for dtype in INPUT_DTYPES)
NEED = Need(
    target="ascend",
    made_for={"soc_version": "Ascend310P3", "cann": "8.0.RC2"},
    onnx_sha256="0" * 64,
    weights_sha256="2" * 64,
    batch_size=8,
    config="yolact_base_config",
    cut="fpn",
    precision="fp16",
    inputs=(INPUT,),
    outputs=(TensorSpec("output0", (2,)),),
)
DESCRIPTION = describe_network(CONFIGS["yolact_base_config"])
SMALL = TensorSpec("image", (2, 3), "uint8", "NHWC")


@pytest.fixture
def model(tmp_path):
    """A compiled model with its side-car, as NEED wants it."""
    path = tmp_path / "yolact_edge_bs8.om"
    path.write_bytes(b"compiled")
    write_sidecar(path, describe_model(path, NEED, DESCRIPTION, ["atc"], "atc --model a.onnx"))
    return path


def test_what_a_model_was_compiled_for_is_found_in_its_side_car(model):
    assert find_made_for(model) == NEED.made_for
    sidecar_file(model).unlink()
    assert find_made_for(model) == {}


def test_a_side_car_says_all_about_its_model(model):
    assert sidecar_file(model) == model.with_name("yolact_edge_bs8.om.json")
    assert json.loads(sidecar_file(model).read_text()) == {
        "schema": SCHEMA,
        "target": "ascend",
        "made_for": {"soc_version": "Ascend310P3", "cann": "8.0.RC2"},
        "flags": ["atc"],
        "onnx_sha256": "0" * 64,
        "weights_sha256": "2" * 64,
        "model_sha256": sha256_file(model),
        "batch_size": 8,
        "config": "yolact_base_config",
        "cut": "fpn",
        "precision": "fp16",
        "input": {"name": "image", "shape": [8, 3, 550, 550], "dtype": "float32", "layout": "NCHW"},
        "outputs": [{"name": "output0", "shape": [8, 2], "dtype": "float32", "layout": ""}],
        "command": "atc --model a.onnx",
        "description": to_json(DESCRIPTION),
    }
    assert read_sidecar(model) == describe_model(model, NEED, DESCRIPTION, ["atc"], "atc --model a.onnx")


def test_the_model_of_the_run_is_accepted(model):
    assert require_model(model, NEED) == read_sidecar(model)


@pytest.mark.parametrize(
    ("need", "said"),
    [
        ({"target": "onnxruntime", "made_for": {"onnxruntime": "1.2"}}, "target is ascend, expected onnxruntime"),
        (
            {"made_for": {**NEED.made_for, "soc_version": "Ascend910B3"}},
            "soc_version is Ascend310P3, expected Ascend910B3",
        ),
        (
            {"made_for": {**NEED.made_for, "cann": "none, CPU emulation"}},
            "cann is 8.0.RC2, expected none, CPU emulation",
        ),
        ({"made_for": {**NEED.made_for, "driver": "23.0"}}, "driver is None, expected 23.0"),
        ({"batch_size": 4}, "batch_size is 8, expected 4"),
        ({"config": "yolact_im700_config"}, "config is yolact_base_config, expected yolact_im700_config"),
        ({"cut": "heads"}, "cut is fpn, expected heads"),
        ({"precision": "fp32"}, "precision is fp16, expected fp32"),
        (
            {"inputs": (UINT8_INPUT,)},
            "input is image float32 NCHW [8, 3, 550, 550], expected image uint8 NHWC [8, 550, 550, 3]",
        ),
        ({"weights_sha256": "1" * 64}, f"weights_sha256 is {'2' * 64}, expected {'1' * 64}"),
        ({"onnx_sha256": "1" * 64}, f"onnx_sha256 is {'0' * 64}, expected {'1' * 64}"),
    ],
    ids=[
        *("target", "soc_version", "cann", "not in the side-car", "batch_size", "config", "cut", "precision", "input"),
        *("weights_sha256", "onnx_sha256"),
    ],
)
def test_a_model_for_something_else_is_refused(model, need, said):
    with pytest.raises(ArtifactError) as caught:
        require_model(model, replace(NEED, **need))
    assert str(caught.value) == (
        f"{model} was compiled for something else: {said}. Compile it again: from=compile force=compile."
    )


def test_a_model_that_was_replaced_is_refused(model):
    before = sha256_file(model)
    model.write_bytes(b"another")
    said = (
        rf"bs8\.om is not the file .*bs8\.om\.json .*: its sha256 is {sha256_file(model)}, expected {before}\. Compile"
    )
    with pytest.raises(ArtifactError, match=said):
        require_model(model, NEED)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, r"There is no .*bs8\.om\.json, which states .* by hand do not\. Compile it again: from=compile"),
        ("{", r"is not JSON: .* Compile it again"),
        ("[]", rf"has schema None, expected {SCHEMA}\. Compile it again"),
        ('{"onnx_sha256": "0"}', rf"has schema None, expected {SCHEMA}\. Compile it again"),
        (
            f'{{"schema": {SCHEMA + 1}}}',
            rf"has schema {SCHEMA + 1}, expected {SCHEMA}: .*Install that version, or comp",
        ),
        (f'{{"schema": {SCHEMA}, "cut": "fpn"}}', r"is damaged: .*made_for.*\. Compile it again"),
    ],
    ids=["missing", "cut short", "a list", "of an earlier version", "of a later version", "lacks fields"],
)
def test_a_side_car_of_no_use_is_said(model, content, said):
    sidecar_file(model).unlink()
    if content is not None:
        sidecar_file(model).write_text(content)
    with pytest.raises(ArtifactError, match=said):
        require_model(model, NEED)


@pytest.fixture
def inputs(tmp_path):
    """Two inputs of SMALL, with their recipe."""
    (tmp_path / "bin_file").mkdir()
    for index in range(2):
        (tmp_path / "bin_file" / f"{index}.bin").write_bytes(bytes(SMALL.size_bytes))
    (tmp_path / "recipe.json").write_text(json.dumps({"input": ["image", [2, 3], "uint8"]}))
    return tmp_path


def write_recipe(folder, value):
    (folder / "recipe.json").write_text(json.dumps(value))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: None, None),
        (
            # Four times the bytes: what ais_bench would take for four images.
            lambda folder: write_recipe(folder, {"input": ["image", [2, 3], "float32"]}),
            r"bin_file holds inputs of \['image', \[2, 3\], 'float32'\], expected uint8 NHWC \[2, 3\]",
        ),
        (lambda folder: write_recipe(folder, []), "holds inputs of None, expected uint8"),
        (lambda folder: (folder / "recipe.json").unlink(), r"There is no .*recipe\.json"),
        (lambda folder: (folder / "bin_file" / "1.bin").write_bytes(bytes(24)), r"1\.bin holds 24 bytes, expected 6"),
        (lambda folder: (folder / "bin_file" / "0.bin").unlink(), r"0\.bin holds 0 bytes, expected 6"),
    ],
    ids=["right", "another dtype", "no recipe", "recipe lost", "a file of another size", "a file lost"],
)
def test_inputs_must_be_what_the_model_takes(inputs, harm, said):
    harm(inputs)
    if said is None:
        require_inputs(inputs, [SMALL], 2)
    else:
        with pytest.raises(ArtifactError, match=said) as caught:
            require_inputs(inputs, [SMALL], 2)
        assert re.search(r"Make them again: from=preprocess force=preprocess\.$", str(caught.value))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("input", {"name": "image"}, "found {'name': 'image'}"),
        ("input", None, "found None"),
        ("outputs", [{"name": "a", "shape": [8, None], "dtype": "float32", "layout": ""}], "expected name, shape"),
        ("outputs", [{"name": "a", "shape": [8, 2], "dtype": "O", "layout": ""}], "expected name, shape"),
        ("outputs", [], r"outputs is '\[\]'"),
        ("outputs", 7, "outputs is '7'"),
        ("made_for", None, "made_for is 'None'"),
        ("weights_sha256", 5, "weights_sha256 is '5'"),
        ("batch_size", "8", "batch_size is '8'"),
        ("flags", {}, "flags is"),
        ("cut", "heads", "cut is 'heads', but its description has 'fpn'"),
        ("description", None, "the description is None"),
        ("description", {"schema": 1}, '"config" is missing'),
    ],
    ids=[
        *("input without fields", "no input", "a size that is no number", "a type that is none", "no outputs"),
        *("outputs that are no list", "made for nothing", "a hash that is no text", "a number as text", "no flags"),
        *("another cut than the description's", "no description", "a description without a config"),
    ],
)
def test_a_side_car_with_a_field_of_another_form_is_damaged(model, field, value, said):
    path = sidecar_file(model)
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    for read in (read_sidecar, lambda model: require_model(model, NEED)):
        with pytest.raises(ArtifactError, match=rf"is damaged: .*{said}.* Compile it again"):
            read(model)
