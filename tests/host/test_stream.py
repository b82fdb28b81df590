"""Images to detections in memory: the same as by files, whatever runs at the same time, and what goes wrong is said."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from emulation.cases import real_packages, real_tool_in
from factories import CHECKOUT, TINY_CONFIG, detector_of, write_coco

from yolact_ascend.cli.main import main
from yolact_ascend.detection.detections import bbox_results, mask_results
from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.environment import TERMINAL_VARIABLE
from yolact_ascend.errors import ArtifactError, DatasetError, ToolError
from yolact_ascend.host.loading import load
from yolact_ascend.host.overlap import Spent, overlap
from yolact_ascend.host.postprocess import postprocess
from yolact_ascend.host.stream import Streamed, score_stream, scored_sources
from yolact_ascend.images.coco import load_dataset
from yolact_ascend.images.decode import decode_image
from yolact_ascend.images.reader import source_of_image
from yolact_ascend.images.transforms import normalise_image
from yolact_ascend.models.yolact.detect import YolactDetector
from yolact_ascend.targets.ascend.engine import DeviceEngine
from yolact_ascend.targets.folder import output_bin
from yolact_ascend.targets.onnxruntime.engine import OnnxEngine
from yolact_ascend.timings import Timings
from yolact_ascend.workers import Workers

IDS = [3, 1, 2, 4]  # in the data set's order


def prepared(image):
    """The network's input for an image of the data set."""
    return normalise_image(decode_image(image.path), TINY_CONFIG.preprocessing)


def stream(engines, images, detector, batch_size, workers, spent):
    """What is found in images of a data set."""
    return overlap(engines, map(source_of_image, images), detector, batch_size, workers, spent, len(images))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = write_coco(tmp_path_factory.mktemp("coco"), TINY_CONFIG)
    return load_dataset(folder / "annotations" / "instances_val2017.json", folder / "val2017")


@pytest.fixture(scope="module")
def detector(tiny_onnx):
    return detector_of(tiny_onnx)


@pytest.fixture(scope="module")
def by_files(dataset, detector, tiny_onnx, tmp_path_factory):
    """What postprocess writes for the outputs of each image alone."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "output").mkdir()
    with OnnxEngine(tiny_onnx) as engine:
        for index, image in enumerate(dataset.images):
            outputs = engine.infer([prepared(image)[None]])
            for k, output in enumerate(outputs):
                output.tofile(output_bin(folder / "output", index, k))
    files = {BOX: folder / "bbox.json", MASK: folder / "mask.json"}
    scored = postprocess(folder / "output", detector, dataset, IDS, files)
    return [file.read_text() for file in files.values()], scored.evaluation


@pytest.fixture
def run(dataset, detector, tmp_path):
    """Stream over engines and score; returns what both files hold, and the result."""

    def run(engines, batch_size, images=dataset.images, workers=2):
        files, spent = {BOX: tmp_path / "bbox.json", MASK: tmp_path / "mask.json"}, Spent()
        chosen = replace(dataset, images=tuple(images))
        sources = scored_sources(chosen, TINY_CONFIG)
        with contextlib.closing(overlap(engines, sources, detector, batch_size, workers, spent, len(images))) as found:
            streamed = score_stream(found, chosen, TINY_CONFIG, files, spent)
        return [file.read_text() for file in files.values()], streamed

    return run


@pytest.mark.parametrize(("devices", "workers"), [(1, 1), (2, 2)])
def test_the_results_are_those_of_files(run, by_files, tiny_onnx, devices, workers):
    """Whatever the batches: one of the four images is alone in its batch here, and there is a short batch."""
    with contextlib.ExitStack() as stack:
        engines = [stack.enter_context(OnnxEngine(tiny_onnx)) for _ in range(devices)]
        written, streamed = run(engines, batch_size=3, workers=workers)
    assert written == by_files[0]
    assert json.loads(written[0])
    assert streamed.evaluation == by_files[1]
    assert sum(map(len, streamed.spent.devices)) == 2 and streamed.failed == ()
    assert all(end > start for times in streamed.spent.devices for start, end in times)
    assert streamed.spent.host.images == 4
    assert {"decode", "resize", "heads", "detect", "masks", "RLE", "eval"} == set(streamed.spent.host.seconds)


def test_a_device_gives_what_files_give(run, by_files, compiled, emulation):
    with DeviceEngine(compiled, emulation) as engine:
        written, streamed = run([engine], batch_size=2)
    assert written == by_files[0]
    assert len(streamed.spent.devices[0]) == 2


def test_the_python_api_gives_the_entries_of_files(by_files, dataset, tiny_onnx):
    """But for those that score no more than the threshold: evaluation keeps an anchor's other classes, too."""
    with load(tiny_onnx, score_threshold=0.05) as model:
        found = list(model.stream([image.path for image in dataset.images], workers=1))
    for text, task in zip(by_files[0], (BOX, MASK)):
        expected = [entry for entry in json.loads(text) if entry["score"] > 0.05]
        assert [
            entry for image, each in zip(dataset.images, found) for entry in each.to_coco(image.image_id, task)
        ] == expected


def repeat(photographs):
    """Return images with ids of their own, of these photographs."""
    return [replace(image, image_id=101 + place) for place, image in enumerate(photographs)]


def results_of(found):
    """The boxes and masks of each image as COCO's results, under image id 0."""
    return [
        [kind(each.detections, 0, TINY_CONFIG.category_ids) for kind in (bbox_results, mask_results)] for each in found
    ]


def results_by_files(by_files, photographs):
    """The same, as `by_files` has them."""
    files = [json.loads(text) for text in by_files[0]]
    return [
        [[{**entry, "image_id": 0} for entry in file if entry["image_id"] == each.image_id] for file in files]
        for each in photographs
    ]


def test_more_batches_than_slots_come_in_order(by_files, dataset, detector, tiny_onnx):
    photographs, spent = dataset.images * 3, Spent()
    images = repeat(photographs)
    with OnnxEngine(tiny_onnx) as engine:
        found = list(stream([engine], images, detector, 1, 1, spent))  # 4 slots
    assert [each.source.content for each in found] == [image.path for image in images]
    assert results_of(found) == results_by_files(by_files, photographs)
    assert len(spent.devices[0]) == spent.host.images == 12


@dataclass(frozen=True)
class Holding(YolactDetector):
    """Holds the first image of a size, as detecting many instances may take long, until a file appears."""

    held_size: tuple[int, int] = (0, 0)
    sign: Path = Path()

    def detect(self, outputs, height, width, *others):
        first = self.sign.with_name("held")
        if (height, width) == self.held_size and not first.exists():
            first.touch()
            deadline = time.monotonic() + 30
            while not self.sign.exists() and time.monotonic() < deadline:
                time.sleep(0.01)
        return super().detect(outputs, height, width, *others)


class Ordered:
    """Engine that begins when another has computed a batch, and gives a sign when it has computed an input."""

    def __init__(self, engine, after, done, awaited=b"", sign=None):
        self._engine, self._after, self._done, self._awaited, self._sign = engine, after, done, awaited, sign
        self.inputs, self.outputs, self.batch_size, self.at_once = engine.inputs, engine.outputs, None, 1

    def infer_slot(self, slots, slot, count, images=None):
        assert self._after.wait(30)
        timing = self._engine.infer_slot(slots, slot, count)
        self._done.set()
        if slots.images(slot)[0][0].tobytes() == self._awaited:
            self._sign.touch()
        return timing


def test_a_slot_is_not_given_on_before_its_image_is_detected(by_files, dataset, detector, tiny_onnx, tmp_path):
    """The second device is done first, and its first image is held in a worker until the ninth has been computed.

    That one would be the first to get a slot that was given on too early: there are 8.
    """
    first, held, last, _ = dataset.images
    photographs, sign = [first, *[held] * 7, *[last] * 4], tmp_path / "sign"
    done, free = threading.Event(), threading.Event()
    free.set()
    awaited = prepared(last).tobytes()
    holding = Holding(detector.config, detector.cut, detector.heads, held_size=(held.height, held.width), sign=sign)
    with OnnxEngine(tiny_onnx) as engine:
        engines = [Ordered(engine, done, done, awaited, sign), Ordered(engine, free, done)]
        found = list(stream(engines, repeat(photographs), holding, 1, 2, Spent()))
    assert (tmp_path / "held").exists() and sign.exists()
    assert results_of(found) == results_by_files(by_files, photographs)


class Clocked:
    """Engine with a clock of its own, that remembers its inputs."""

    def __init__(self, engine, start):
        self._engine, self._clock, self.seen = engine, start, set()
        self.inputs, self.outputs, self.batch_size, self.at_once = engine.inputs, engine.outputs, None, 1

    def infer_slot(self, slots, slot, count, images=None):
        self._engine.infer_slot(slots, slot, count)
        self.seen.add(slots.images(slot)[0][0].tobytes())
        self._clock += 1
        return self._clock, self._clock + 0.5


def test_each_device_has_the_times_of_its_own_batches(dataset, detector, tiny_onnx):
    """The first those of the even batches, which are all of one photograph here."""
    even, odd = dataset.images[:2]
    spent = Spent()
    with OnnxEngine(tiny_onnx) as engine:
        engines = [Clocked(engine, 100), Clocked(engine, 200)]
        list(stream(engines, repeat([even, odd, even, odd, even]), detector, 1, 1, spent))
    inputs = [prepared(image).tobytes() for image in (even, odd)]
    assert [each.seen for each in engines] == [{inputs[0]}, {inputs[1]}]
    # A batch notes its time when the next may be on the device already.
    times = [sorted(device) for device in spent.devices]
    assert times == [[(101, 101.5), (102, 102.5), (103, 103.5)], [(201, 201.5), (202, 202.5)]]


@pytest.mark.ais_bench
@pytest.mark.parametrize("package", real_packages())
def test_the_real_infersession_gives_what_files_give(run, by_files, compiled, emulation, tmp_path, package):
    """Ascend's own package of each year, in the device's process, on the emulated runtime."""
    real = real_tool_in(Path(package), tmp_path / "shim")
    tools = SimpleNamespace(python=emulation.python, env={**emulation.env, **real.env})
    with DeviceEngine(compiled, tools) as engine:
        written, streamed = run([engine], batch_size=2)
    assert written == by_files[0]
    (times,) = streamed.spent.devices
    assert len(times) == 2 and all(end > start for start, end in times)


def test_an_image_that_cannot_be_decoded_is_named_and_left_out(run, by_files, dataset, tiny_onnx, tmp_path, capsys):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8 no photograph")
    images = [type(image)(image.image_id, broken, 5, 5) if image.image_id == 1 else image for image in dataset.images]
    with OnnxEngine(tiny_onnx) as engine:
        written, streamed = run([engine], 3, images)
    kept = [[entry for entry in json.loads(text) if entry["image_id"] != 1] for text in by_files[0]]
    assert [json.loads(text) for text in written] == kept and kept[0]
    assert [image.image_id for image in streamed.failed] == [1] and streamed.evaluation.images == 3
    assert streamed.to_json()["failed"] == [1]
    assert "1 more could not be decoded and are not scored: broken.jpg" in streamed.describe()
    assert "cannot be decoded" in capsys.readouterr().err
    with OnnxEngine(tiny_onnx) as engine, pytest.raises(DatasetError, match="None of the 1 images could be decoded"):
        run([engine], 3, images[1:2])


class Played:
    """Engine with which the batch of one image goes wrong; which batch it gets first is a matter of chance."""

    def __init__(self, engine, image, before=lambda: None, after=lambda outputs: None):
        self._engine, self._before, self._after = engine, before, after
        self._wrong = prepared(image).tobytes()
        self.inputs, self.outputs, self.batch_size, self.at_once = engine.inputs, engine.outputs, None, 1

    def infer_slot(self, slots, slot, count, images=None):
        is_wrong = slots.images(slot)[0][0].tobytes() == self._wrong
        if is_wrong:
            self._before()
        timing = self._engine.infer_slot(slots, slot, count)
        if is_wrong:
            self._after(slots.results(slot))
        return timing


def test_an_interrupt_leaves_the_images_done_so_far(run, by_files, tiny_onnx, dataset, tmp_path, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    heard = []
    monkeypatch.setattr(signal, "signal", lambda number, handler: heard.append((number, handler)))
    with OnnxEngine(tiny_onnx) as engine, pytest.raises(KeyboardInterrupt, match="hold the 1 images done so far; the"):
        run([Played(engine, dataset.images[1], interrupt)], 1)
    found = json.loads((tmp_path / "mask.json").read_text())
    whole = json.loads(by_files[0][1])
    assert found == [entry for entry in whole if entry["image_id"] == 3] and found
    assert heard == [(signal.SIGINT, signal.SIG_IGN), (signal.SIGTERM, signal.SIG_IGN)]


def test_a_device_or_outputs_that_fail_end_it_without_results(run, tiny_onnx, dataset, tmp_path):
    def fail():
        raise ToolError("the device failed")

    def spoil(outputs):
        outputs[5][0, 0, 0, 0] = np.inf

    with OnnxEngine(tiny_onnx) as engine, pytest.raises(ToolError, match="the device failed"):
        run([Played(engine, dataset.images[1], fail)], 1)
    with OnnxEngine(tiny_onnx) as engine, pytest.raises(ArtifactError, match="not finite numbers"):
        run([Played(engine, dataset.images[1], after=spoil)], 1)
    assert not list(tmp_path.glob("*.json")) and not list(tmp_path.glob(".*"))


def test_a_killed_worker_is_said(run, tiny_onnx, dataset, tmp_path):
    def kill_workers():
        children = subprocess.run(["pgrep", "-P", str(os.getpid()), "-f", "spawn_main"], capture_output=True, text=True)
        for child in children.stdout.split():
            os.kill(int(child), signal.SIGKILL)

    with (
        OnnxEngine(tiny_onnx) as engine,
        pytest.raises(ToolError, match="A worker process ended without an error message"),
    ):
        run([Played(engine, dataset.images[1], kill_workers)], 1)
    assert not list(tmp_path.glob("*.json"))


def test_by_the_command_line(tiny_onnx, tiny_weights, dataset, by_files, tmp_path, capsys):
    words = [
        *("stream", f"--model={tiny_onnx}", f"--trained_model={tiny_weights}", f"--config={TINY_CONFIG.name}"),
        *(f"--image_path={dataset.image_folder}", f"--json_file={dataset.annotation_file}", "--batch_size=2"),
        *(f"--bbox_det_file={tmp_path / 'b.json'}", f"--mask_det_file={tmp_path / 'm.json'}"),
        *(f"--scores_file={tmp_path / 's.json'}", f"--summary_file={tmp_path / 't.json'}", "--limit=3"),
    ]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "3 images, " in said and "on ONNX Runtime on the CPU" in said and "COCOeval, mask (fractions)" in said
    assert json.loads((tmp_path / "b.json").read_text()) == [
        entry for entry in json.loads(by_files[0][0]) if entry["image_id"] != 4
    ]
    assert json.loads((tmp_path / "s.json").read_text())["host"]["images"] == 3
    timings = json.loads((tmp_path / "t.json").read_text())
    assert len(timings["npu_compute_time_list"]) == 2 and timings["devices"][0]["batches"] == 2
    assert main([*words, "--image_path=nowhere"]) == 1


@pytest.mark.parametrize("delay_s", [0, 0.2])
def test_an_interrupt_while_the_workers_start_ends_it(tiny_onnx, tiny_weights, dataset, tmp_path, delay_s):
    """To the whole group, as from a terminal: workers that are not up yet must not be waited for."""
    command = [
        *(sys.executable, "-m", "yolact_ascend", "stream", f"--model={tiny_onnx}", f"--trained_model={tiny_weights}"),
        *(f"--config={TINY_CONFIG.name}", f"--image_path={dataset.image_folder}", "--workers=2"),
        *(f"--json_file={dataset.annotation_file}", f"--bbox_det_file={tmp_path / 'b.json'}"),
        f"--mask_det_file={tmp_path / 'm.json'}",
    ]
    env = {**os.environ, TERMINAL_VARIABLE: "1"}  # its bar shows when it begins
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True, env=env)
    while "stream:" not in process.stderr.read(20):
        assert process.poll() is None
    time.sleep(delay_s)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130 and "begins with the first one again" in said and "Traceback" not in said
    assert isinstance(json.loads((tmp_path / "b.json").read_text()), list)


def test_workers_need_no_torch():
    """Each of them is a process with what it imports."""
    code = "import sys, yolact_ascend.host.overlap; print({'torch', 'onnx', 'matplotlib'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=CHECKOUT)
    assert result.stdout.strip() == "set()"


def test_time_is_counted_by_step():
    timings = Timings(images=2)
    with timings.timed("a"):
        sum(range(100_000))
    timings.add(Timings(2, {"a": 1.0, "b": 2.0}))
    assert timings.images == 4 and timings.seconds["a"] > 1
    assert timings.to_json()["core_ms_per_image"]["b"] == 500
    assert Timings().ms_per_image() == {}


class Stopped(Exception):
    """Ends a stream as soon as what it opens is known."""


@pytest.mark.parametrize(
    ("images", "engines", "batch_size", "workers", "opened"),
    [
        # two for each engine, and two images ahead for each worker: 2 + 2 batches of one
        (12, 1, 1, 1, {"slots": 4, "workers": 1}),
        (12, 2, 1, 1, {"slots": 6, "workers": 1}),
        (12, 1, 4, 2, {"slots": 3, "workers": 2}),  # 2 + 1, and no more than the three batches there are
        (2, 1, 1, 1, {"slots": 2, "workers": 1}),
        (2, 1, 1, 8, {"slots": 2, "workers": 2}),
    ],
)
def test_no_more_is_opened_than_keeps_the_workers_busy(
    dataset, detector, tiny_onnx, monkeypatch, images, engines, batch_size, workers, opened
):
    """The bound of a stream's memory."""
    seen = {}

    @contextlib.contextmanager
    def open_slots(count, *_):
        seen["slots"] = count
        yield None

    def open_workers(count, *_):
        seen["workers"] = count
        raise Stopped

    monkeypatch.setattr("yolact_ascend.host.overlap.open_slots", open_slots)
    monkeypatch.setattr("yolact_ascend.host.overlap.open_workers", open_workers)
    with OnnxEngine(tiny_onnx) as engine, pytest.raises(Stopped):
        next(stream([engine] * engines, [dataset.images[0]] * images, detector, batch_size, workers, Spent()))
    assert seen == opened


def test_after_the_first_failure_nothing_more_is_begun(dataset, detector, tiny_onnx, monkeypatch):
    """What waits for a worker is dropped: its images would be prepared for nobody."""
    cancelled = []
    real = Workers.cancel
    monkeypatch.setattr(Workers, "cancel", lambda pool: (cancelled.append(pool), real(pool)))

    def fail():
        raise ToolError("the device failed")

    with OnnxEngine(tiny_onnx) as engine, pytest.raises(ToolError, match="the device failed"):
        list(stream([Played(engine, dataset.images[0], fail)], repeat(dataset.images * 3), detector, 1, 1, Spent()))
    assert len(cancelled) == 1


def test_failures_are_listed_up_to_some(dataset):
    failed = tuple(dataset.images[0] for _ in range(7))
    evaluation = SimpleNamespace(images=10)
    name = dataset.images[0].path.name
    said = Streamed(evaluation, failed, 2.0, Spent()).describe()
    assert said == (
        "10 images, 5.00 images/s from the files to the detections\n"
        f"7 more could not be decoded and are not scored: {', '.join([name] * 5)}"
    )
