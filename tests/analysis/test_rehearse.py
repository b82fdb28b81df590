"""Operators whose values float16 cannot hold, on graphs of one multiplication each."""

import dataclasses
import json

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from yolact_ascend.analysis.rehearse import ValueRange, format_ranges, rehearse
from yolact_ascend.cli.main import main
from yolact_ascend.errors import ArtifactError
from yolact_ascend.images.decode import find_images
from yolact_ascend.models.config import CONFIGS, DEFAULT_CONFIG
from yolact_ascend.models.inputs import input_tensor

INPUT = input_tensor(CONFIGS[DEFAULT_CONFIG])


def write_model(path, *factors, input_name=INPUT.name, dims=("batch", *INPUT.shape), operator="Mul"):
    """Write a chain of multiplications, one operator `mul<i>` and one weight `factor<i>` each."""
    names = [input_name, *(f"product{i}" for i in range(len(factors)))]
    nodes = [
        helper.make_node(operator, [names[i], f"factor{i}"], [names[i + 1]], name=f"mul{i}")
        for i in range(len(factors))
    ]
    weights = [numpy_helper.from_array(np.array([value], np.float32), f"factor{i}") for i, value in enumerate(factors)]
    image = helper.make_tensor_value_info(input_name, TensorProto.FLOAT, dims)
    output = helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, dims)
    graph = helper.make_graph(nodes, "chain", [image], [output], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=7), path)
    return path


@pytest.fixture
def photographs(tmp_path):
    """Two images of which one is white: normalised, its largest value is (255 - 103.94) / 57.38 = 2.633."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for name, level in (("a.png", 0), ("b.png", 255)):
        cv2.imwrite(str(folder / name), np.full((20, 30, 3), level, np.uint8))
    (folder / "notes.txt").write_text("no image")
    return folder


def by_name(ranges):
    return {value.name: value for value in ranges}


def test_the_operator_that_overflows_is_named_and_its_neighbours_are_not(tmp_path, photographs):
    model = write_model(tmp_path / "m.onnx", 1, 60000, 1e-4)
    found = by_name(rehearse(model, find_images(photographs, 8)))
    assert {name: value.fault for name, value in found.items()} == {
        "factor0": None,
        "factor1": None,
        "factor2": None,
        "mul0": None,
        "mul1": "overflows",
        "mul2": None,
    }
    assert found["mul1"].largest == pytest.approx(60000 * (255 - 103.94) / 57.38, rel=1e-6)
    assert found["mul1"].overflowed == 1  # |black| and |white| are both above 1.09 on every channel


def test_values_and_weights_that_become_zero(tmp_path, photographs):
    found = by_name(rehearse(write_model(tmp_path / "m.onnx", 1e-8, 1e8), find_images(photographs, 8)))
    assert (found["factor0"].fault, found["factor0"].vanished) == ("vanishes", 1)
    assert (found["mul0"].fault, found["mul0"].vanished) == ("vanishes", 1)
    assert found["mul1"].fault is None  # in float32 they come back
    assert found["factor1"].fault == "overflows"


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (65504, None),
        (65519, None),  # rounds to 65504
        (65520, "overflows"),
        (-70000, "overflows"),
        (np.inf, "overflows"),
        (np.nan, "overflows"),
        (0, None),
        (2**-24, None),
        (2**-25, "vanishes"),
    ],
)
def test_the_edges_of_float16(tmp_path, photographs, value, fault):
    ranges = rehearse(write_model(tmp_path / "m.onnx", value), find_images(photographs, 1))
    assert by_name(ranges)["factor0"].fault == fault


def test_the_text_names_what_is_at_risk_and_the_remedy(tmp_path, photographs):
    model = write_model(tmp_path / "m.onnx", 60000, 1e-4)
    text = format_ranges(rehearse(model, find_images(photographs, 8)), 2)
    assert "2 operators, 2 weights, 2 images" in text
    assert "| overflows | mul0" in text
    assert "precision=fp32" in text
    fine = format_ranges(rehearse(write_model(tmp_path / "n.onnx", 2), find_images(photographs, 1)), 1)
    assert "Nothing overflows or vanishes" in fine


def test_the_verb_prints_json(tmp_path, photographs, capsys):
    model = write_model(tmp_path / "m.onnx", 60000)
    assert main(["rehearse", f"--model={model}", f"--image_path={photographs}", "--limit=1", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["images"] == 1
    assert [(entry["name"], entry["fault"]) for entry in printed["ranges"]] == [
        ("factor0", None),
        ("mul0", "overflows"),
    ]


def test_a_model_of_ascends_operators_is_refused_with_what_to_take(tmp_path, photographs):
    path = write_model(tmp_path / "int8.onnx", 1, operator="AscendQuant")
    model = onnx.load(path)
    model.metadata_props.add(key="operators", value="int8")
    onnx.save(model, path)
    with pytest.raises(ArtifactError, match=r"int8\.onnx is int8 in Ascend's form, .*_int8_qdq\.onnx"):
        rehearse(path, find_images(photographs, 1))


def test_a_model_that_is_none_of_ours_is_refused(tmp_path, photographs):
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ArtifactError, match=r"text\.onnx cannot be read as ONNX.*pth2onnx\.py"):
        rehearse(tmp_path / "text.onnx", find_images(photographs, 1))
    other = write_model(tmp_path / "other.onnx", 1, input_name="data")
    with pytest.raises(ArtifactError, match=r"takes \[\('data', 'float32', .*expected one input \('image'"):
        rehearse(other, find_images(photographs, 1))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dims": (8, *INPUT.shape)}, r"takes \[.* 8\)\], expected one input .* whose batch is free"),
        ({"dims": ("batch", 3, 224, 224)}, r"takes \[.*\(3, 224, 224\).*expected"),
        ({"operator": "NoSuchOperator"}, "cannot be run: .*NoSuchOperator"),
    ],
    ids=["batch fixed", "another size", "unknown operator"],
)
def test_a_model_that_cannot_be_run_is_refused(tmp_path, photographs, changes, said):
    model = write_model(tmp_path / "m.onnx", 1, **changes)
    with pytest.raises(ArtifactError, match=said):
        rehearse(model, find_images(photographs, 1))


def test_probabilities_that_become_zero_are_no_fault():
    softmax = ValueRange("Softmax_0", "Softmax", largest=1.0, overflowed=0.0, vanished=0.5)
    assert softmax.fault is None
    assert dataclasses.replace(softmax, kind="Mul").fault == "vanishes"
    assert dataclasses.replace(softmax, overflowed=0.1).fault == "overflows"
