"""A model that callers hold: threads, processes, streams, its end; each picture gets its own answer."""

from __future__ import annotations

import copy
import importlib.util
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from factories import CHECKOUT, TINY_CONFIG, compile_model, detector_of
from played import CONFIG, MeanDetector, levels_of, picture, save_averaging

from yolact_ascend.detection.thresholds import DetectionSettings
from yolact_ascend.errors import ArtifactError, DatasetError, ToolError, UsageError
from yolact_ascend.host.model import Model
from yolact_ascend.models.inputs import RESIZE, input_tensor
from yolact_ascend.models.yolact.cuts import CUTS, cut_outputs
from yolact_ascend.models.yolact.detect import YolactDetector
from yolact_ascend.slots import SHARED_MEMORY
from yolact_ascend.targets.ascend.engine import DeviceEngine
from yolact_ascend.targets.onnxruntime.engine import OnnxEngine
from yolact_ascend.targets.openvino.compile import compile_ir
from yolact_ascend.targets.openvino.engine import OpenVinoEngine

CAPTURED = {"capture_output": True, "text": True, "timeout": 60}


@pytest.fixture(scope="module")
def averaging(tmp_path_factory):
    return save_averaging(tmp_path_factory.mktemp("averaging") / "averaging.onnx")


@pytest.fixture(scope="module")
def on_onnxruntime(averaging):
    return OnnxEngine(averaging)


@pytest.fixture(scope="module")
def on_openvino(averaging):
    xml = averaging.with_suffix(".xml")
    compile_ir(averaging, xml, 1, "fp32", [input_tensor(CONFIG)], CONFIG.preprocessing)
    return OpenVinoEngine(xml)


@pytest.fixture(scope="module")
def on_ascend(averaging, emulation):
    """The emulated card takes batches of two."""
    om = compile_model(averaging, emulation, "averaging", 2, config=CONFIG)
    with DeviceEngine(om, emulation) as device:
        yield device


@pytest.fixture(
    params=["on_onnxruntime", pytest.param("on_openvino", marks=pytest.mark.needs("openvino")), "on_ascend"]
)
def model(request):
    """The same network on an engine of each target."""
    return Model([request.getfixturevalue(request.param)], MeanDetector())


@pytest.fixture
def on_cpu(on_onnxruntime):
    """The model on one engine, for what does not depend on the engine."""
    return Model([on_onnxruntime], MeanDetector())


def test_one_picture_a_list_a_tuple_and_nothing(model):
    assert levels_of([model(picture(17))]) == [17]
    pictures = [picture(level) for level in (3, 200, 40)]
    assert levels_of(model(pictures)) == levels_of(model(tuple(pictures))) == [3, 200, 40]
    assert model([]) == [] and list(model.stream([])) == [] and list(model.stream(iter(()), workers=1)) == []


def test_four_threads_get_the_answers_to_their_own_pictures(model):
    """field_problems 1 (openvino#2349): on one compiled model, 213 of 240 answers were another caller's."""

    def ask(first):
        levels = range(first, first + 60)
        return [levels_of([model(picture(level))])[0] for level in levels] == list(levels)

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(ask, (0, 60, 120, 180)))


def test_results_are_copies_and_pictures_stay(model):
    """field_problems 6 (openvino#70): views of a request's outputs all hold the last image."""
    pictures = [picture(level) for level in (10, 20, 30, 40)]
    kept = [model(each) for each in pictures]
    model(picture(250))
    assert levels_of(kept) == [10, 20, 30, 40]
    assert all((each == level).all() for each, level in zip(pictures, (10, 20, 30, 40)))


def test_a_result_holds_the_picture_as_it_was(on_cpu):
    frame = picture(10)
    found = on_cpu(frame)
    frame[:] = 250
    assert np.array_equal(found.picture.read(), picture(10))


def test_pictures_take_turns_on_several_devices(on_onnxruntime):
    class Counting:
        def __init__(self, engine):
            self._engine, self.count = engine, 0
            self.inputs, self.outputs, self.batch_size = engine.inputs, engine.outputs, engine.batch_size

        def infer(self, inputs):
            self.count += 1
            return self._engine.infer(inputs)

    counting = [Counting(on_onnxruntime) for _ in range(2)]
    model = Model(counting, MeanDetector())
    assert levels_of(model([picture(level) for level in range(4)])) == [0, 1, 2, 3]
    assert [each.count for each in counting] == [2, 2]


@pytest.mark.parametrize("cut", CUTS)
def test_nothing_found_is_empty_arrays_of_the_right_shapes(cut):
    """field_problems 29 (vision#2251, cocoapi#450): export and scoring crash on zero. Here: a black picture."""

    class Blank:
        inputs, batch_size = (input_tensor(TINY_CONFIG),), 1
        outputs = cut_outputs(TINY_CONFIG, cut)

        def infer(self, inputs):
            return [np.zeros((len(inputs[0]), *spec.shape), np.float32) for spec in self.outputs]

    def heads(levels):
        return [np.zeros(spec.shape, np.float32) for spec in cut_outputs(TINY_CONFIG, "heads")[:3]]

    detector = YolactDetector(TINY_CONFIG, cut, heads if cut == "fpn" else None, DetectionSettings(0.3))
    found = Model([Blank()], detector)(picture(0))
    assert len(found) == 0 and list(found) == [] and found.class_names == [] and found.to_coco(7) == []
    shapes = (found.boxes_xyxy_px, found.scores, found.class_ids, found.category_ids, found.masks)
    assert [array.shape for array in shapes] == [(0, 4), (0,), (0,), (0,), (0, 20, 30)]
    assert [array.dtype for array in shapes] == ["float32", "float32", "int64", "int64", "bool"]
    assert np.array_equal(found.draw(), picture(0))


def test_a_stream_gives_what_calls_give_in_order_from_any_iterable(model, tmp_path):
    files = []
    for level in (5, 250, 90):
        files.append(tmp_path / f"{level}.png")
        cv2.imwrite(str(files[-1]), picture(level))
    given = [*files, files[0].read_bytes(), picture(33), str(files[1]), picture(77, 50, 10)]
    found = list(model.stream((each for each in given), workers=1))
    assert levels_of(found) == [5, 250, 90, 5, 33, 250, 77] == levels_of(model(given))
    assert [each.name for each in found] == [*map(str, files), "picture 4", "picture 5", str(files[1]), "picture 7"]
    assert (found[-1].height_px, found[-1].width_px) == (50, 10)
    assert [np.median(each.picture.read()) for each in found] == [5, 250, 90, 5, 33, 250, 77]


def shared_files():
    return sum(SHARED_MEMORY in path.resolve().parents for path in Path("/proc/self/fd").iterdir())


def test_a_stream_holds_few_pictures_and_leaves_nothing_when_it_is_broken_off(on_cpu):
    before, taken = shared_files(), []

    def endless():
        while True:
            taken.append(picture(len(taken) % 256))
            yield taken[-1]

    for given, found in enumerate(on_cpu.stream(endless(), workers=1), start=1):
        assert levels_of([found]) == [given - 1]
        # 2 batches for the engine, 2 for the worker; the next is taken when one was given.
        assert len(taken) - given <= 4
        assert shared_files() > before
        if given == 30:
            break
    assert shared_files() == before
    assert levels_of([on_cpu(picture(9))]) == [9]


def test_an_exception_of_the_pictures_comes_after_their_results(on_cpu):
    class CameraGone(Exception):
        pass

    def camera():
        yield from (picture(level) for level in (1, 2, 3))
        raise CameraGone

    found = []
    with pytest.raises(CameraGone):
        for each in on_cpu.stream(camera(), workers=1):
            found.append(each)
    assert levels_of(found) == [1, 2, 3]


def test_a_picture_that_cannot_be_read_is_raised_at_its_place_or_handed_over(on_cpu, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    given = [picture(1), tmp_path / "bad.png", picture(2).astype(np.float32), tmp_path / "none.png", picture(3)]
    found = []
    with pytest.raises(DatasetError, match=r"bad\.png \(10 bytes\) cannot be decoded"):
        for each in on_cpu.stream(given, workers=1):
            found.append(each)
    assert levels_of(found) == [1]
    errors = []
    assert levels_of(on_cpu.stream(given, workers=1, on_unreadable=errors.append)) == [1, 3]
    assert [type(error) for error in errors] == [DatasetError] * 3
    said = ("bad.png (10 bytes) cannot", "picture 3 is an array float32 [20, 30, 3], exp", "There is no image ")
    assert all(words in str(error) for error, words in zip(errors, said))


@pytest.mark.parametrize("pictures", ["street.jpg", b"bytes", 7, picture(1)], ids=["path", "bytes", "number", "array"])
def test_a_stream_of_one_picture_is_refused(on_cpu, pictures):
    with pytest.raises(UsageError, match=r"stream\(\) takes several pictures.* For one: model\(picture\)"):
        on_cpu.stream(pictures)


@pytest.mark.parametrize("workers", [0, -1, 1.5, "2"])
def test_a_stream_takes_a_whole_number_of_workers(on_cpu, workers):
    with pytest.raises(UsageError, match="workers=.*: expected a whole number from 1 to 1024"):
        on_cpu.stream([], workers=workers)


def test_after_close_everything_says_so(on_onnxruntime):
    closed = []
    model = Model([on_onnxruntime], MeanDetector(), path="m.onnx", close=lambda: closed.append(1))
    with model as same:
        assert same is model
        stream = model.stream(iter([picture(level) for level in range(9)]), workers=1)
        assert levels_of([next(stream)]) == [0]
    said = r"The model m\.onnx is closed\. Load it again"
    for use in (lambda: model(picture(1)), lambda: model([]), lambda: next(stream), lambda: model.stream([])):
        with pytest.raises(UsageError, match=said):
            use()
    with pytest.raises(UsageError, match=said), model:
        pass
    model.close()
    assert closed == [1] and "closed" in repr(model)


def test_close_waits_for_calls_in_other_threads(on_onnxruntime):
    begun, go = threading.Event(), threading.Event()

    class Slow:
        def __init__(self, engine):
            self._engine = engine
            self.inputs, self.outputs, self.batch_size = engine.inputs, engine.outputs, engine.batch_size

        def infer(self, inputs):
            begun.set()
            assert go.wait(30)
            return self._engine.infer(inputs)

    order = []
    model = Model([Slow(on_onnxruntime)], MeanDetector(), close=lambda: order.append("closed"))
    with ThreadPoolExecutor(2) as threads:
        answer = threads.submit(lambda: (model(picture(7)), order.append("answered"))[0])
        assert begun.wait(30)
        closing = threads.submit(model.close)
        go.set()
        assert levels_of([answer.result()]) == [7] and closing.result() is None
    assert order == ["answered", "closed"]


def test_a_device_that_fails_is_the_packages_exception(on_onnxruntime):
    class Failing:
        inputs, outputs, batch_size, at_once = on_onnxruntime.inputs, on_onnxruntime.outputs, 1, 1

        def infer(self, inputs):
            raise ToolError("the device failed")

        def infer_slot(self, *_):
            raise ToolError("the device failed")

    model = Model([Failing()], MeanDetector())
    for use in (lambda: model(picture(1)), lambda: list(model.stream([picture(1)], workers=1))):
        with pytest.raises(ToolError, match="the device failed"):
            use()


def test_a_model_of_another_network_is_refused(on_onnxruntime):
    detector = YolactDetector(TINY_CONFIG, "heads", None)
    with pytest.raises(ArtifactError, match="The model takes"):
        Model([on_onnxruntime], detector)(picture(1))


@pytest.mark.parametrize("transfer", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_model_is_neither_pickled_nor_copied_and_results_are(on_cpu, transfer):
    """field_problems 27: engines do not pickle."""
    with pytest.raises(UsageError, match="cannot be pickled or copied: it holds a device. Pass its path"):
        transfer(on_cpu)
    found = pickle.loads(pickle.dumps(on_cpu(picture(8))))
    assert levels_of([found]) == [8]


FORKING = """
import multiprocessing, signal, sys
import numpy as np
import yolact_ascend

grey = np.full((60, 80, 3), 90, np.uint8)
models = [yolact_ascend.load(path, score_threshold=0.0) for path in sys.argv[1:]]
before = [model(grey).scores.tolist() for model in models]

def ask(number):
    try:
        models[number](grey)
    except yolact_ascend.UsageError as error:
        models[number].close()  # leaves the parent's engine alone
        return str(error)

signal.alarm(8)
with multiprocessing.get_context("fork").Pool(1) as pool:
    for number in range(len(models)):
        print(pool.apply(ask, (number,)))
assert [model(grey).scores.tolist() for model in models] == before
print("done")
"""


def test_a_forked_process_is_told_within_seconds(tiny_onnx, tmp_path):
    """field_problems 27 (openvino#416, onnxruntime#31961): a forked queue hangs, an inherited session hangs at exit."""
    models = [tiny_onnx]
    if importlib.util.find_spec("openvino"):
        models.append(tiny_onnx.with_name("forked.xml"))
        compile_ir(tiny_onnx, models[1], 1, "fp32", [input_tensor(TINY_CONFIG)], TINY_CONFIG.preprocessing)
    done = subprocess.run(
        [sys.executable, "-c", FORKING, *models],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    *said, last = done.stdout.splitlines()
    assert last == "done"
    assert len(said) == len(models)
    for line, path in zip(said, models):
        assert line.startswith(f"The model {path} was loaded in process ") and "forked from it. Load it in each" in line


SCRIPT = """
import sys
import numpy as np
import yolact_ascend

print("the script runs", flush=True)
with yolact_ascend.load(sys.argv[1], score_threshold=0.0) as model:
    found = list(model.stream([np.full((60, 80, 3), level, np.uint8) for level in (0, 90)], workers=2))
    assert [len(each) for each in found] == [len(model(each.picture.content)) for each in found]
"""


def test_a_script_needs_no_guard_for_a_stream(tiny_onnx, tmp_path):
    """Python's own workers would run the script again in each of them."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    env = {"PYTHONPATH": str(CHECKOUT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, script, tiny_onnx], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the script runs\n"


@pytest.mark.needs("openvino")
def test_a_stream_takes_pictures_of_any_size_by_a_model_that_resizes(tiny_onnx):
    """Their sizes are not known before they are read."""
    xml = tiny_onnx.with_name("resizing.xml")
    compile_ir(tiny_onnx, xml, 1, "fp32", [input_tensor(TINY_CONFIG)], TINY_CONFIG.preprocessing, RESIZE)
    noise = np.random.default_rng(0).integers(0, 255, (600, 800, 3), dtype=np.uint8)
    whole = cv2.GaussianBlur(noise, (0, 0), 3)
    pictures = [whole[:h, :w] for h, w in ((100, 80), (600, 800), (300, 50))]
    encoded = [cv2.imencode(".png", each)[1].tobytes() for each in pictures]
    model = Model([OpenVinoEngine(xml)], detector_of(tiny_onnx))
    expected = [each.to_coco(1) for each in model(pictures)]
    assert any(expected)
    for given in (pictures, encoded):
        assert [each.to_coco(1) for each in model.stream(iter(given), workers=1)] == expected
