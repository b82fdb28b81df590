"""A network is scored as the pipeline would."""

import dataclasses

import numpy as np
import pytest
import torch
from factories import TINY_CONFIG, write_coco

from yolact_ascend.host import score as host_score
from yolact_ascend.host.inference import detect_batch
from yolact_ascend.images.coco import load_dataset
from yolact_ascend.images.decode import decode_image
from yolact_ascend.models.detector import load_detector
from yolact_ascend.models.weights import load_network
from yolact_ascend.models.yolact.cuts import cut_outputs
from yolact_ascend.targets.onnxruntime.engine import OnnxEngine
from yolact_ascend.timings import Timings
from yolact_ascend.training.score import NetworkEngine, score_network


@pytest.fixture(scope="module")
def network(tiny_weights):
    return load_network(tiny_weights, TINY_CONFIG)


@pytest.fixture
def dataset(tmp_path):
    folder = write_coco(tmp_path / "coco", TINY_CONFIG)
    return load_dataset(folder / "annotations" / "instances_val2017.json", folder / "val2017")


@pytest.fixture
def scored(monkeypatch):
    """What would be evaluated, call by call: image ids, and the entries of each task."""
    calls = []

    def record(annotations, image_ids, found):
        calls.append((image_ids, {task: list(entries) for task, entries in found.items()}))

    monkeypatch.setattr(host_score, "evaluate", record)
    return calls


def test_the_engine_gives_the_tensors_behind_the_heads(network):
    engine = NetworkEngine(network, TINY_CONFIG, "cpu")
    assert engine.cut == "heads" and engine.outputs == cut_outputs(TINY_CONFIG, "heads")
    (image,) = engine.inputs
    outputs = engine.infer([np.zeros((2, *image.shape), np.float32)])
    assert [output.shape for output in outputs] == [(2, *spec.shape) for spec in engine.outputs]


def test_a_network_finds_what_its_export_finds(network, tiny_onnx, tiny_weights, dataset, scored):
    """The network at the `heads` cut, and its ONNX at the `fpn` cut: float32 differs in the order of sums."""
    score_network(network, TINY_CONFIG, dataset, 1)
    ((image_ids, found),) = scored
    image = dataset.select(limit=1)[0]
    assert image_ids == [image.image_id]
    with OnnxEngine(tiny_onnx) as engine:
        detector = load_detector(tiny_weights, TINY_CONFIG, "fpn")
        (expected,) = detect_batch([decode_image(image.path)], engine, detector, Timings().timed)
    assert len(expected) > 0
    assert [entry["category_id"] for entry in found["box"]] == [
        TINY_CONFIG.category_ids[class_id] for class_id in expected.class_ids
    ]
    np.testing.assert_allclose([entry["score"] for entry in found["box"]], expected.scores, rtol=0, atol=1e-4)


def test_a_network_is_scored_at_the_annotated_sizes(network, dataset, scored):
    image = dataset.select(limit=1)[0]
    larger = dataclasses.replace(image, height=3 * image.height, width=2 * image.width)
    score_network(network, TINY_CONFIG, dataclasses.replace(dataset, images=(image,)))
    score_network(network, TINY_CONFIG, dataclasses.replace(dataset, images=(larger,)))
    sizes = [{tuple(entry["segmentation"]["size"]) for entry in found["mask"]} for _, found in scored]
    assert sizes == [{(80, 100)}, {(240, 200)}]


def test_scoring_leaves_the_network_in_training(network, dataset):
    network.train()
    statistics = network.backbone.layers[0][1].running_mean.clone()
    assert score_network(network, TINY_CONFIG, dataset, 1).images == 1
    assert network.training
    assert torch.equal(network.backbone.layers[0][1].running_mean, statistics)
    network.eval()
    score_network(network, TINY_CONFIG, dataset, 1)
    assert not network.training
