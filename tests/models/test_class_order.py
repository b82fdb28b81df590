"""A class keeps its name and its category id from the weights to the results, at every cut.

Open Model Zoo's issue 1719 and dbolya/yolact's issue 409: with the background in another place, or ids that count from
0, boxes look right and names are wrong.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
import torch
from factories import TINY_CONFIG, random_state_dict
from onnx import numpy_helper

from yolact_ascend.detection.detections import bbox_results
from yolact_ascend.detection.draw import from_detections
from yolact_ascend.host.inference import detect_batch
from yolact_ascend.models.detector import load_detector
from yolact_ascend.models.export import export_onnx
from yolact_ascend.models.inputs import input_tensor
from yolact_ascend.targets.onnxruntime.engine import OnnxEngine
from yolact_ascend.targets.openvino.compile import compile_ir
from yolact_ascend.targets.openvino.engine import OpenVinoEngine
from yolact_ascend.timings import Timings

NAMES = ("screw", "nut", "washer", "bolt")
IDS = (90, 3, 1, 40)  # not in the order of the classes, and with gaps
CONFIG = dataclasses.replace(TINY_CONFIG, class_names=NAMES, category_ids=IDS)
BIAS = "prediction_layers.0.conf_layer.bias"
RAISE = 30.0  # on logits of a few units: every anchor is of that class
PICTURE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def state():
    return random_state_dict(CONFIG)


def raised(state, class_id):
    """Return the biases [anchors of a cell · (background + classes)] with those of a class raised."""
    bias = state[BIAS].clone()
    bias[class_id + 1 :: len(NAMES) + 1] += RAISE
    return bias


@pytest.fixture(scope="module")
def weights(state, tmp_path_factory):
    """The files of weights with a class raised, by class."""
    folder = tmp_path_factory.mktemp("weights")
    for class_id in range(len(NAMES)):
        torch.save({**state, BIAS: raised(state, class_id)}, folder / f"{class_id}.pth")
    return [folder / f"{class_id}.pth" for class_id in range(len(NAMES))]


@pytest.fixture(scope="module", params=["fpn", "heads", "boxes"])
def exported(request, state, weights, tmp_path_factory):
    """A cut, and its ONNX files with a class raised, by class; the network is traced once."""
    folder = tmp_path_factory.mktemp(request.param)
    export_onnx(weights[0], CONFIG, folder / "0.onnx", cut=request.param)
    for class_id in range(1, len(NAMES)):
        model = onnx.load(folder / "0.onnx")
        if request.param != "fpn":  # there the heads are the host's, from the weights
            (bias,) = (tensor for tensor in model.graph.initializer if tensor.name.endswith("conf_layer.bias"))
            bias.CopyFrom(numpy_helper.from_array(raised(state, class_id).numpy(), bias.name))
        onnx.save(model, folder / f"{class_id}.onnx")
    return request.param, [folder / f"{class_id}.onnx" for class_id in range(len(NAMES))]


@pytest.mark.parametrize("class_id", range(len(NAMES)), ids=NAMES)
def test_the_class_that_is_raised_is_the_one_that_is_found(exported, weights, class_id):
    cut, files = exported
    with OnnxEngine(files[class_id]) as engine:
        require_class(class_id, engine, load_detector(weights[class_id], CONFIG, cut))


@pytest.mark.parametrize("class_id", range(len(NAMES)), ids=NAMES)
def test_and_on_openvino(exported, weights, class_id):
    cut, files = exported
    xml = files[class_id].with_suffix(".xml")
    compile_ir(files[class_id], xml, 1, "fp32", [input_tensor(CONFIG)], CONFIG.preprocessing, "0")
    with OpenVinoEngine(xml) as engine:
        require_class(class_id, engine, load_detector(weights[class_id], CONFIG, cut))


def require_class(class_id, engine, detector):
    """Hold name and category id of all detections in a picture to those of a class."""
    (found,) = detect_batch([PICTURE], engine, detector, Timings().timed)
    assert len(found)
    assert {entry["category_id"] for entry in bbox_results(found, 1, IDS)} == {IDS[class_id]}
    labels = [instance.label for instance in from_detections(found, NAMES, IDS)]
    assert all(label.startswith(NAMES[class_id]) for label in labels), labels
