"""The cut `boxes`: scores and boxes from the device, by Open Model Zoo's names, with the detections of other cuts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from factories import CHECKOUT
from numpy.testing import assert_allclose
from upstreams import match_detections

from yolact_ascend.detection.boxes import decode_boxes
from yolact_ascend.detection.evaluate import evaluate
from yolact_ascend.detection.nms import softmax
from yolact_ascend.detection.results import Findings
from yolact_ascend.host.inference import detect_batch
from yolact_ascend.images.coco import load_dataset
from yolact_ascend.images.decode import decode_image
from yolact_ascend.models import export
from yolact_ascend.models.config import CONFIGS, DEMO_CONFIG
from yolact_ascend.models.detector import load_detector
from yolact_ascend.models.yolact.anchors import make_anchors
from yolact_ascend.models.yolact.detect import detect, detect_decoded
from yolact_ascend.models.yolact.network import decode_on_device
from yolact_ascend.scenes.scenes import draw_dataset
from yolact_ascend.targets.onnxruntime.engine import OnnxEngine
from yolact_ascend.timings import Timings

CONFIG = CONFIGS[DEMO_CONFIG]
WEIGHTS = CHECKOUT / CONFIG.source.url
ANCHORS = make_anchors(CONFIG.anchors, 550)
SCENES = 6


def test_the_device_decodes_boxes_as_the_host_does():
    """The host's exponential is rounded from float64: boxes differ in the last bits, a few 1e-7 of their size."""
    loc = np.random.default_rng(0).normal(0, 2, (len(ANCHORS), 4)).astype(np.float32)
    found = decode_on_device(torch.from_numpy(loc)[None], torch.from_numpy(ANCHORS.copy()))[0].numpy()
    assert_allclose(found, decode_boxes(loc, ANCHORS), rtol=0, atol=3e-6)
    assert_allclose(
        decode_on_device(torch.zeros(1, 1, 4), torch.tensor([[0.5, 0.4, 0.2, 0.6]])), [[[0.4, 0.1, 0.6, 0.7]]]
    )


def test_decoded_outputs_of_the_host_give_the_detections_of_the_heads():
    """Softmax of all rows and of chosen rows is the same to the bit, and so is the rest."""
    rng = np.random.default_rng(1)
    loc, coeffs = (rng.normal(size=(len(ANCHORS), n)).astype(np.float32) for n in (4, 24))
    conf = rng.normal(0, 3, (len(ANCHORS), 9)).astype(np.float32)
    protos = rng.random((138, 138, 24), dtype=np.float32)
    expected = detect((loc, conf, coeffs), protos, 60, 80, ANCHORS)
    found = detect_decoded((softmax(conf), decode_boxes(loc, ANCHORS), coeffs), protos, 60, 80)
    assert len(found) == 100 and found.masks == expected.masks
    for part in ("class_ids", "scores", "boxes_xyxy_px"):
        assert np.array_equal(getattr(found, part), getattr(expected, part)), part


def test_nothing_above_the_threshold_is_nothing():
    conf = np.zeros((len(ANCHORS), 9), np.float32)
    conf[:, 0], conf[:, 1] = 0.95, 0.05  # not above it
    boxes, coeffs, protos = (np.zeros(shape, np.float32) for shape in ((len(conf), 4), (len(conf), 24), (138, 138, 24)))
    assert len(detect_decoded((conf, boxes, coeffs), protos, 60, 80)) == 0


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The demo's detections in drawn scenes, and its mAP, at two cuts.

    test_class_order.py compares both with PyTorch.
    """
    folder = tmp_path_factory.mktemp("boxes")
    draw_dataset(folder, 0, SCENES, 7)
    dataset = load_dataset(folder / "annotations" / "instances_val2017.json", folder / "val2017")
    detections, scores = {}, {}
    for cut in ("heads", "boxes"):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(export, "compare_with_torch", lambda *_: [])
            export.export_onnx(WEIGHTS, CONFIG, folder / f"{cut}.onnx", cut=cut)
        findings, detections[cut] = Findings(CONFIG.category_ids), []
        detector = load_detector(WEIGHTS, CONFIG, cut)
        with OnnxEngine(folder / f"{cut}.onnx") as engine:
            names = [spec.name for spec in engine.outputs]
            for image in dataset.images:
                (one,) = detect_batch([decode_image(image.path)], engine, detector, Timings().timed)
                findings.add(image.image_id, one)
                detections[cut].append(one)
        found_by_task = {task: findings.entries(task) for task in CONFIG.tasks}
        evaluation = evaluate(dataset.truth, [image.image_id for image in dataset.images], found_by_task)
        scores[cut] = [evaluation.scores[task].table["all"] for task in CONFIG.tasks]
    return detections, scores, names


def test_the_outputs_have_the_names_that_other_programs_take(found):
    assert found[2] == ["conf", "boxes", "mask", "proto"]


def test_the_demo_finds_the_same_at_both_cuts(found):
    """`match_detections` allows what the last bits of softmax and exponential move."""
    detections, scores, _ = found
    assert sum(map(len, detections["boxes"])) > 10 * SCENES
    for ours, theirs in zip(detections["boxes"], detections["heads"]):
        assert len(ours) == len(theirs)
        named = {"classes": theirs.class_ids, "scores": theirs.scores, "boxes": theirs.boxes_xyxy_px}
        match_detections(ours, named)
    assert scores["boxes"] == pytest.approx(scores["heads"], abs=0.05)
    print(f"mAP at both cuts: {scores}")
