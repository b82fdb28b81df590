"""A model that takes one image at a time is computed for several images side by side, with the same bits."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from factories import random_rcnn_state_dict, tiny_rcnn

from yolact_ascend.cli import main
from yolact_ascend.models.inputs import input_tensors
from yolact_ascend.slots import open_slots
from yolact_ascend.targets.in_process import InProcessEngine
from yolact_ascend.targets.onnxruntime.engine import OnnxEngine

pytestmark = pytest.mark.needs("torch")
CONFIG = tiny_rcnn(stages=(1, 1, 1, 1))
INPUTS = input_tensors(CONFIG)
TOGETHER_S = 30  # how long a request waits for the other before the test fails


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The model as an ONNX file."""
    import torch

    from yolact_ascend.models.export import export_onnx

    folder = tmp_path_factory.mktemp("parallel")
    torch.save(random_rcnn_state_dict(CONFIG), folder / "w.pth")
    export_onnx(folder / "w.pth", CONFIG, folder / "a.onnx")
    return folder / "a.onnx"


@pytest.fixture(params=["onnxruntime", "openvino"])
def engine(request, exported):
    """The model on two threads of each target."""
    if request.param == "onnxruntime":
        return OnnxEngine(exported, threads=2)
    pytest.importorskip("openvino")
    from yolact_ascend.targets.openvino.engine import OpenVinoEngine

    model = exported.with_name("a_bs1.xml")
    if not model.exists():
        words = [f"--model={exported}", f"--output={model}", "--batch_size=1"]
        assert main.main(["compile", *words]) == 0
    return OpenVinoEngine(model, threads=2)


@pytest.fixture
def pictures():
    """Four images with their sizes."""
    rng = np.random.default_rng(0)
    shapes = [(1, *spec.shape) for spec in INPUTS]
    return [[rng.normal(size=shapes[0]).astype(np.float32), np.array([[90, 100 + i]], np.float32)] for i in range(4)]


def slow_to(together, engine, monkeypatch):
    """Have each request of the engine wait until `together` of them are inside."""
    barrier, filled = threading.Barrier(together, timeout=TOGETHER_S), engine._filled

    def wait(array):
        barrier.wait()
        return filled(array)

    monkeypatch.setattr(engine, "_filled", wait)


def test_slots_are_computed_side_by_side(engine, pictures, monkeypatch):
    """As a stream has them: every two requests meet at a barrier, which one at a time would never pass."""
    expected = [engine.infer(picture) for picture in pictures]
    if engine.at_once == 1:
        pytest.skip("OpenVINO has one core here")
    slow_to(2, engine, monkeypatch)
    with open_slots(4, 1, engine.inputs, engine.outputs) as slots, ThreadPoolExecutor(2) as threads:
        for slot, picture in enumerate(pictures):
            for place, array in zip(slots.images(slot), picture):
                place[:] = array
        list(threads.map(lambda slot: engine.infer_slot(slots, slot, 1), range(4)))
        for slot, outputs in enumerate(expected):
            for found, output in zip(slots.results(slot), outputs):
                np.testing.assert_array_equal(found, output)


def test_all_batches_are_computed_side_by_side_and_given_in_order(engine, pictures):
    expected = [engine.infer(picture) for picture in pictures]
    found = list(engine.infer_all(iter(pictures)))
    for (outputs, (start, end)), others in zip(found, expected):
        assert start < end
        for output, other in zip(outputs, others):
            np.testing.assert_array_equal(output, other)
    assert len(found) == len(pictures)


def test_onnxruntime_has_two_requests_at_once_in_infer(exported, pictures, monkeypatch):
    with OnnxEngine(exported, threads=2) as engine:
        slow_to(2, engine, monkeypatch)
        assert len(list(engine.infer_all(iter(pictures)))) == 4


@pytest.mark.parametrize(("threads", "at_once", "each"), [(1, 1, 1), (2, 2, 1), (3, 3, 1), (16, 4, 4)])
def test_onnxruntime_divides_its_threads(exported, threads, at_once, each):
    """Four images at most: each has a network's intermediate results in memory."""
    engine = OnnxEngine(exported, threads=threads)
    assert engine.at_once == at_once
    assert at_once == 1 or engine._for_throughput.get_session_options().intra_op_num_threads == each


def test_a_model_of_larger_batches_has_one_request(tiny_onnx):
    """Its batch keeps all cores busy."""
    engine = OnnxEngine(tiny_onnx, threads=2)
    assert (engine.at_once, engine._for_throughput) == (1, engine._session)


def test_one_image_by_design_is_known_by_the_second_input():
    single = InProcessEngine()
    single.batch_size, single.inputs = 1, INPUTS
    assert single.is_single
    single.inputs = INPUTS[:1]
    assert not single.is_single
