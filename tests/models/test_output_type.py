"""Prototypes in float16: half of most of what leaves the device, at every cut, stated by the model."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
from factories import TINY_CONFIG, tiny_rcnn

from yolact_ascend.detection.thresholds import EVALUATION_SETTINGS
from yolact_ascend.errors import ArtifactError, UsageError
from yolact_ascend.models.description import from_json, to_json
from yolact_ascend.models.families import cut_outputs, family_of
from yolact_ascend.models.output_type import output_type_of, with_output_type
from yolact_ascend.models.yolact.cuts import CUTS
from yolact_ascend.timings import Timings

HALF = with_output_type(TINY_CONFIG, "fp16")


def test_only_the_prototypes_become_float16():
    for cut in CUTS:
        *others, protos = cut_outputs(HALF, cut)
        *same, before = cut_outputs(TINY_CONFIG, cut)
        assert others == same and protos == dataclasses.replace(before, dtype="float16")
    assert output_type_of(HALF) == "fp16" and with_output_type(HALF, "fp32") == TINY_CONFIG
    assert with_output_type(HALF, None) == HALF


def test_a_model_without_prototypes_refuses_it():
    with pytest.raises(UsageError, match="output_type=fp16: .* has no prototypes"):
        with_output_type(tiny_rcnn(), "fp16")
    assert with_output_type(tiny_rcnn(), "fp32") == tiny_rcnn()


def test_a_model_states_it_and_another_type_is_refused(tmp_path):
    from factories import describe_network

    stated = to_json(describe_network(HALF, "detections"))
    assert stated["config"]["proto_dtype"] == "float16"
    assert from_json(stated, "a.onnx").config == HALF
    assert "proto_dtype" not in to_json(describe_network(TINY_CONFIG, "detections"))["config"]  # as before
    with pytest.raises(ArtifactError, match="expected one of float32, float16"):
        from_json({**stated, "config": {**stated["config"], "proto_dtype": "int8"}}, "a.onnx")


def test_the_host_takes_them_as_they_are():
    outputs = [np.zeros(spec.shape, spec.dtype) for spec in cut_outputs(HALF, "detections")]
    boxes, scores, _, count, coeffs, protos = outputs
    boxes[0], scores[0], count[0], coeffs[0, 0], protos[..., 0] = [0.1, 0.2, 0.5, 0.6], 0.9, 1, 1, 2
    exact = family_of(TINY_CONFIG).make_detector(TINY_CONFIG, "detections", None, EVALUATION_SETTINGS, 1)
    half = family_of(HALF).make_detector(HALF, "detections", None, EVALUATION_SETTINGS, 1)
    expected = exact.detect([*outputs[:-1], protos.astype(np.float32)], 60, 80, "outputs", "", Timings())
    found = half.detect(outputs, 60, 80, "outputs", "", Timings())
    assert found.masks == expected.masks and len(found) == 1
    protos[0, 0, 0] = np.inf
    with pytest.raises(ArtifactError, match="not finite"):
        half.detect(outputs, 60, 80, "outputs", "", Timings())


@pytest.mark.needs("torch")
def test_the_export_is_compared_and_opened(tiny_weights, tmp_path):
    from yolact_ascend.models.export import export_onnx
    from yolact_ascend.targets.onnxruntime.engine import OnnxEngine

    small = dataclasses.replace(TINY_CONFIG.preprocessing, height_px=128, width_px=128)
    config = dataclasses.replace(HALF, preprocessing=small)
    differences = export_onnx(tiny_weights, config, tmp_path / "a.onnx", cut="detections")
    assert {difference.output for difference in differences if difference.is_half} == {"protos"}
    kinds = [value.type.tensor_type.elem_type for value in onnx.load(tmp_path / "a.onnx").graph.output]
    assert kinds == [1, 1, 6, 6, 1, 10]  # FLOAT, INT32, FLOAT16
    with OnnxEngine(tmp_path / "a.onnx") as engine:
        assert engine.outputs == cut_outputs(config, "detections")
