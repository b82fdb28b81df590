"""The command of ATC, and the names of the model that it writes."""

from pathlib import Path

import pytest

from yolact_ascend.models.config import CONFIGS, DEFAULT_CONFIG
from yolact_ascend.models.inputs import input_tensor, input_tensors
from yolact_ascend.targets.ascend.atc import adopt_model, atc_command, remove_models
from yolact_ascend.tensors import TensorSpec

RCNN = "mask_rcnn_R_50_FPN_3x"
IMAGE = input_tensor(CONFIGS[DEFAULT_CONFIG])


def test_the_command_is_the_guides():
    command = atc_command(Path("yolact_edge.onnx"), Path("yolact_edge_bs8"), 8, [IMAGE], "Ascend310P3")
    assert " ".join(command) == (
        "atc --model yolact_edge.onnx --framework 5 --output yolact_edge_bs8 --log error --soc_version Ascend310P3 "
        "--input_shape image:8,3,550,550"
    )


def test_name_and_shape_of_the_input_are_the_networks():
    command = atc_command(Path("a.onnx"), Path("a"), 1, [TensorSpec("x", (3, 400, 300))], "Ascend310P3")
    assert command[-2:] == ["--input_shape", "x:1,3,400,300"]


def test_a_network_with_two_inputs_has_an_entry_for_each():
    command = atc_command(Path("a.onnx"), Path("a"), 1, input_tensors(CONFIGS[RCNN]), "Ascend310P3")
    assert command[-2:] == ["--input_shape", "image:1,3,1344,1344;image_size:1,2"]


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        ({}, ""),
        ({"precision": "fp16"}, ""),
        ({"precision": "fp32"}, " --precision_mode must_keep_origin_dtype"),
        ({"aipp_config": Path("a.cfg")}, " --insert_op_conf a.cfg"),
        ({"keep_dtype": Path("keep.cfg")}, " --keep_dtype keep.cfg"),
        (
            {"precision": "fp32", "aipp_config": Path("a.cfg")},
            " --precision_mode must_keep_origin_dtype --insert_op_conf a.cfg",
        ),
    ],
    ids=["default", "fp16", "fp32", "aipp", "kept operators", "both"],
)
def test_what_is_not_the_guides_adds_a_flag(words, flags):
    command = " ".join(atc_command(Path("a.onnx"), Path("a"), 8, [IMAGE], "Ascend310P3", **words))
    assert command == (
        "atc --model a.onnx --framework 5 --output a --log error --soc_version Ascend310P3 "
        f"--input_shape image:8,3,550,550{flags}"
    )


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
