"""A class of R-CNN keeps its name and its category id from the weights to the results, in each dialect.

Detectron2's background is the last class, Detectron1's the first: one for the other gives plausible boxes with the name
of a neighbour (Open Model Zoo's issue 1719).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
import torch
from factories import random_rcnn_state_dict, tiny_rcnn
from onnx import numpy_helper

from yolact_ascend.detection.detections import whole_results
from yolact_ascend.detection.draw import from_detections
from yolact_ascend.host.inference import detect_batch
from yolact_ascend.models.detector import load_detector
from yolact_ascend.models.export import export_onnx
from yolact_ascend.models.inputs import input_tensors
from yolact_ascend.models.rcnn.cuts import DETECTIONS
from yolact_ascend.models.values import DETECTRON1
from yolact_ascend.targets.onnxruntime.engine import OnnxEngine
from yolact_ascend.targets.openvino.compile import compile_ir
from yolact_ascend.targets.openvino.engine import OpenVinoEngine
from yolact_ascend.timings import Timings

NAMES = ("screw", "nut", "washer", "bolt")
IDS = (90, 3, 1, 40)  # not in the order of the classes, and with gaps
BIAS = "roi_heads.box_predictor.cls_score.bias"
RAISE = 30.0  # on logits of a few units: every detection is of that class
PICTURE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
BASES = ("faster_rcnn_R_50_FPN_3x", "mask_rcnn_R_50_FPN_3x", "resnet50_fpn_mask_rcnn")


@pytest.fixture(scope="module", params=BASES)
def exported(request, tmp_path_factory):
    """A config, its weights, and its ONNX files with a class raised, by class; the network is traced once."""
    config = dataclasses.replace(tiny_rcnn(request.param), class_names=NAMES, category_ids=IDS)
    folder = tmp_path_factory.mktemp(request.param)
    state = random_rcnn_state_dict(config)
    torch.save(state, folder / "weights.pth")
    export_onnx(folder / "weights.pth", config, folder / "network.onnx", cut=DETECTIONS)
    files = []
    for class_id in range(len(NAMES)):
        model = onnx.load(folder / "network.onnx")
        (bias,) = (tensor for tensor in model.graph.initializer if tensor.name.endswith("cls_score.bias"))
        raised = state[BIAS].numpy().copy()
        raised[class_id + 1 if config.rcnn.dialect == DETECTRON1 else class_id] += RAISE
        bias.CopyFrom(numpy_helper.from_array(raised, bias.name))
        files.append(folder / f"{class_id}.onnx")
        onnx.save(model, files[-1])
    return config, folder / "weights.pth", files


@pytest.mark.parametrize("class_id", range(len(NAMES)), ids=NAMES)
def test_the_class_that_is_raised_is_the_one_that_is_found(exported, class_id):
    config, weights, files = exported
    with OnnxEngine(files[class_id]) as engine:
        require_class(class_id, engine, load_detector(weights, config, DETECTIONS))


def test_and_on_openvino(exported, tmp_path):
    config, weights, files = exported
    class_id = 2  # neither first nor last; the graph is the same for all
    compile_ir(files[class_id], tmp_path / "n.xml", 1, "fp32", input_tensors(config), config.preprocessing)
    with OpenVinoEngine(tmp_path / "n.xml") as engine:
        require_class(class_id, engine, load_detector(weights, config, DETECTIONS))


def require_class(class_id, engine, detector):
    """All that is found is of the class, by every name that a result gives it."""
    (found,) = detect_batch([PICTURE], engine, detector, Timings().timed)
    assert len(found) > 0
    entries = whole_results(found, NAMES, IDS)
    assert {(entry["class_name"], entry["category_id"]) for entry in entries} == {(NAMES[class_id], IDS[class_id])}
    drawn = from_detections(found, NAMES, IDS)
    assert {(one.name, one.category_id) for one in drawn} == {(NAMES[class_id], IDS[class_id])}
