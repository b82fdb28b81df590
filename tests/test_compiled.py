"""A compiled model on disk: what its side-car says, and which model a run refuses."""

import json
import re
from dataclasses import replace

import pytest

from yolact_ascend.errors import ArtifactError
from yolact_ascend.files import sha256_file
from yolact_ascend.models.inputs import INPUT, UINT8_INPUT
from yolact_ascend.targets.ascend.atc import adopt_model, remove_models
from yolact_ascend.targets.compiled import (
    SCHEMA,
    Need,
    describe_model,
    find_weights_sha256,
    read_sidecar,
    require_inputs,
    require_model,
    write_sidecar,
)
from yolact_ascend.tensors import TensorSpec

NEED = Need(
    soc_version="Ascend310P3",
    cann="8.0.RC2",
    onnx_sha256="0" * 64,
    weights_sha256="2" * 64,
    batch_size=8,
    cut="fpn",
    precision="fp16",
    input=INPUT,
    outputs=(TensorSpec("output0", (2,)),),
)
SMALL = TensorSpec("image", (2, 3), "uint8", "NHWC")


@pytest.fixture
def model(tmp_path):
    """A compiled model with its side-car, as NEED wants it: (.om, side-car)."""
    om, path = tmp_path / "yolact_edge_bs8.om", tmp_path / "yolact_edge_bs8.om.json"
    om.write_bytes(b"compiled")
    write_sidecar(path, describe_model(om, NEED, ["atc"], "atc --model a.onnx"))
    return om, path


def test_a_side_car_says_all_about_its_model(model):
    om, path = model
    fields = json.loads(path.read_text())
    assert list(fields) == [
        *("schema", "soc_version", "cann", "flags", "onnx_sha256", "weights_sha256", "om_sha256"),
        *("batch_size", "cut", "precision", "input", "outputs", "command"),
    ]
    assert fields["schema"] == SCHEMA
    assert fields["input"] == {"name": "image", "shape": [8, 3, 550, 550], "dtype": "float32", "layout": "NCHW"}
    assert read_sidecar(om, path).batch_size == 8


def test_the_model_of_the_run_is_accepted(model):
    assert require_model(*model, NEED).om_sha256 == sha256_file(model[0])


@pytest.mark.parametrize(
    ("need", "said"),
    [
        ({"soc_version": "Ascend910B3"}, "soc_version is Ascend310P3, expected Ascend910B3"),
        ({"cann": "none, CPU emulation"}, "cann is 8.0.RC2, expected none, CPU emulation"),
        ({"batch_size": 4}, "batch_size is 8, expected 4"),
        ({"cut": "heads"}, "cut is fpn, expected heads"),
        ({"precision": "fp32"}, "precision is fp16, expected fp32"),
        (
            {"input": UINT8_INPUT},
            "input is image float32 NCHW [8, 3, 550, 550], expected image uint8 NHWC [8, 550, 550, 3]",
        ),
        ({"weights_sha256": "1" * 64}, f"weights_sha256 is {'2' * 64}, expected {'1' * 64}"),
        ({"onnx_sha256": "1" * 64}, f"onnx_sha256 is {'0' * 64}, expected {'1' * 64}"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_a_model_for_something_else_is_refused(model, need, said):
    with pytest.raises(ArtifactError) as caught:
        require_model(*model, replace(NEED, **need))
    om = model[0]
    assert str(caught.value) == (
        f"{om} was compiled for something else: {said}. Compile it again: from=compile force=compile."
    )


def test_a_model_that_was_replaced_is_refused(model):
    om, path = model
    before = sha256_file(om)
    om.write_bytes(b"another")
    said = rf"yolact_edge_bs8\.om is not the file .*: om_sha256 is {sha256_file(om)}, expected {before}\. Compile it"
    with pytest.raises(ArtifactError, match=said):
        require_model(om, path, NEED)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda om, path: None, "2" * 64),
        (lambda om, path: om.write_bytes(b"another"), None),
        (lambda om, path: path.unlink(), None),
        (lambda om, path: path.write_text(f'{{"schema": {SCHEMA - 1}}}'), None),
    ],
    ids=["told", "of another file", "no side-car", "of an earlier version"],
)
def test_the_weights_of_a_model_are_told_by_its_own_side_car(model, change, expected):
    change(*model)
    assert find_weights_sha256(model[0]) == expected


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, r"There is no .*bs8\.om\.json, so .* compiled by hand .* for a run, compile it again: from=compile"),
        ("{", r"is not JSON: .* Compile it again"),
        ("[]", rf"has schema None, expected {SCHEMA}\. Compile it again"),
        ('{"onnx_sha256": "0"}', rf"has schema None, expected {SCHEMA}\. Compile it again"),
        (f'{{"schema": {SCHEMA + 1}}}', rf"has schema {SCHEMA + 1}, expected {SCHEMA}\. Compile it again"),
        (f'{{"schema": {SCHEMA}, "cut": "fpn"}}', r"is damaged: .*soc_version.*\. Compile it again"),
    ],
    ids=["missing", "cut short", "a list", "of an earlier version", "of a later version", "lacks fields"],
)
def test_a_side_car_of_no_use_is_said(model, content, said):
    om, path = model
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(ArtifactError, match=said):
        require_model(om, path, NEED)


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
        require_inputs(inputs, SMALL, 2)
    else:
        with pytest.raises(ArtifactError, match=said) as caught:
            require_inputs(inputs, SMALL, 2)
        assert re.search(r"Make them again: from=preprocess force=preprocess\.$", str(caught.value))


@pytest.mark.parametrize(
    ("names", "renamed"),
    [
        (["m.om"], False),
        (["m_linux_aarch64.om"], True),
        (["m_linux_x86_64.om"], True),
        ([], False),
        (["m.om", "m_linux_x86_64.om"], False),
        (["m_windows.om", "m1_linux_x86_64.om"], False),
    ],
    ids=["plain", "aarch64", "x86_64", "none", "both", "others"],
)
def test_every_name_that_atc_gives_becomes_the_one(tmp_path, capsys, names, renamed):
    for name in names:
        (tmp_path / name).write_text(name)
    om = adopt_model(tmp_path / "m")
    assert om == tmp_path / "m.om"
    assert om.exists() == ("m.om" in names or renamed)
    if om.exists():
        assert om.read_text() == names[0]
    assert ("renamed to m.om" in capsys.readouterr().err) == renamed


def test_what_an_earlier_atc_left_goes_under_every_name(tmp_path):
    for name in ("m.om", "m_linux_aarch64.om", "m_linux_x86_64.om", "m1.om", "m.om.json"):
        (tmp_path / name).touch()
    remove_models(tmp_path / "m")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.om.json", "m1.om"]
    remove_models(tmp_path / "m")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: (path.rename(path.with_name("real")), path.symlink_to("real")), r"is a link, which ais_bench"),
        (lambda path: path.chmod(0o664), r"has mode 0664, .*chmod 640"),
    ],
    ids=["link", "writable by the group"],
)
def test_what_ais_bench_would_refuse_late_is_refused_now(inputs, model, spoil, said):
    require_inputs(inputs, SMALL, 2)
    spoil(inputs / "bin_file" / "1.bin")
    with pytest.raises(ArtifactError, match=rf"1\.bin {said}"):
        require_inputs(inputs, SMALL, 2)
    om, path = model
    spoil(om)
    with pytest.raises(ArtifactError, match=rf"bs8\.om {said}"):
        require_model(om, path, NEED)


def test_a_side_car_whose_input_lacks_fields_is_damaged(model):
    om, path = model
    path.write_text(json.dumps({**json.loads(path.read_text()), "input": {"name": "image"}}))
    with pytest.raises(ArtifactError, match="is damaged: .*dtype.* Compile it again"):
        read_sidecar(om, path)
