"""`predict` on videos, cameras and streams: what is written, at which times, and what stays after each kind of end."""

import json
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from factories import CHECKOUT
from formats import require_valid
from live_sources import PlayedCamera, serve_mjpeg
from played import CONFIG, MeanDetector

from yolact_ascend.cli.main import main
from yolact_ascend.errors import ArtifactError, DatasetError
from yolact_ascend.host import view
from yolact_ascend.host.footage import Footage, predict_live, predict_video
from yolact_ascend.host.model import Model
from yolact_ascend.host.view import View
from yolact_ascend.images import live as live_module
from yolact_ascend.images.live_source import LiveSource
from yolact_ascend.models.inputs import input_tensor

CAMERA = LiveSource(0)


class MeanEngine:
    """The network of `played`, in numpy; `before` is called with the level of each picture."""

    name, metadata, batch_size, inputs = "played", {}, 1, (input_tensor(CONFIG),)

    def __init__(self, before=lambda level: None):
        self.before, self.batches = before, []

    def infer(self, inputs):
        self.batches.append(len(inputs[0]))
        means = inputs[0].mean(axis=(2, 3), keepdims=True)
        self.before(round(float(means[0, 0, 0, 0])))
        return [means]


def model(before=lambda level: None, batch_size=None):
    return Model([MeanEngine(before)], MeanDetector(), batch_size)


@pytest.fixture
def camera(monkeypatch):
    played = PlayedCamera()
    monkeypatch.setattr(live_module.cv2, "VideoCapture", played)
    monkeypatch.setattr(live_module, "CLOSE_S", 0.01)  # a reader waits for a frame that a test does not put
    yield played
    played.put(None)


@pytest.fixture
def clip(tmp_path):
    """Three frames of 64×48 at 10 a second."""
    path = tmp_path / "clips" / "walk.avi"
    path.parent.mkdir()
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48))
    for level in (60, 120, 180):
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    return path


def lines_of(folder, name="camera_0"):
    lines = (folder / f"{name}.jsonl").read_text().splitlines()
    return [require_valid(json.loads(line), "live") for line in lines]


def levels_of(lines):
    return [round(255 * line["detections"][0]["score"]) for line in lines]


def frames_of(path, monkeypatch):
    monkeypatch.undo()  # the played camera
    capture, levels = cv2.VideoCapture(str(path)), []
    while True:
        is_read, pixels = capture.read()
        if not is_read:
            return capture.get(cv2.CAP_PROP_FPS), levels
        levels.append(int(np.median(pixels)))


def test_a_camera_gives_a_line_for_each_frame_and_a_video_of_its_true_times(camera, tmp_path, monkeypatch):
    clock = iter([5.0, 5.1, 6.0])
    # Of that module alone: other threads of this process ask for the time, too.
    monkeypatch.setattr(live_module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    levels = [60, 120, 180]
    camera.put(levels[0])
    following = iter([*levels[1:], None])
    summary = predict_live(CAMERA, model(lambda level: camera.put(next(following))), tmp_path)
    lines = lines_of(tmp_path)
    assert [(line["frame"], line["time_ms"], line["skipped"]) for line in lines] == [
        *((0, 0.0, 0), (1, 100.0, 0), (2, 1000.0, 0)),
    ]
    assert levels_of(lines) == levels and {line["source"] for line in lines} == {"camera 0"}
    assert (summary.images, summary.warnings) == (3, ["camera 0 ended after 3 frames."])
    rate, shown = frames_of(tmp_path / "camera_0.mp4", monkeypatch)
    # The first for 0.1 s, the second for 0.9 s, at 30 frames/s; the levels are 60 apart, and MPEG-4 blurs a change.
    assert rate == 30.0 and [sum(abs(level - each) < 30 for each in shown) for level in levels] == [3, 27, 1]


def test_frames_that_came_meanwhile_are_left_out_and_a_batch_is_one_frame(camera, tmp_path):
    """A model that takes batches of 4 would otherwise wait for three more frames."""
    camera.put(10)

    def be_slow(level):
        if level == 10:
            camera.put(*range(20, 30), None)
            camera.wait_for(12)

    engine = MeanEngine(be_slow)
    summary = predict_live(CAMERA, Model([engine], MeanDetector(), 4), tmp_path, Footage(writes_copy=False))
    lines = lines_of(tmp_path)
    assert levels_of(lines) == [10, 29] and [line["skipped"] for line in lines] == [0, 9]
    assert engine.batches == [1, 1] and summary.images == 2
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")} == {"camera_0.jsonl"}


def test_a_limit_ends_a_camera_without_a_warning(camera, tmp_path):
    camera.put(1)
    summary = predict_live(CAMERA, model(camera.put), tmp_path, Footage(limit=2))
    assert (summary.images, summary.warnings, len(lines_of(tmp_path))) == (2, [], 2)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyboardInterrupt(), r"camera_0\.jsonl has the 1 frame until then \(.* images/s\)\."),
        (DatasetError("camera 0 gave no frame."), r"camera 0 gave no frame\. .*camera_0\.jsonl has the 1 frame until"),
        (ArtifactError("not finite"), "not finite"),
    ],
    ids=["interrupt", "source", "model"],
)
def test_what_is_done_is_kept_whatever_ends_it(camera, tmp_path, monkeypatch, error, said):
    def fail_at_the_second(level):
        if level == 120:
            raise error
        camera.put(120)

    camera.put(60)
    with pytest.raises(type(error), match=said):
        predict_live(CAMERA, model(fail_at_the_second), tmp_path)
    assert levels_of(lines_of(tmp_path)) == [60]
    assert len(frames_of(tmp_path / "camera_0.mp4", monkeypatch)[1]) == 1


def test_a_second_prediction_begins_its_lines_anew(camera, tmp_path):
    for level in (60, 120):
        camera.put(level, None)
        predict_live(CAMERA, model(), tmp_path)
    assert levels_of(lines_of(tmp_path)) == [120]


def test_lines_of_others_are_not_replaced(tmp_path, tiny_onnx, capsys):
    (tmp_path / "camera_0.jsonl").write_text("mine")
    assert main(["predict", "0", f"--model={tiny_onnx}", f"--save_path={tmp_path}"]) == 2
    assert "camera_0.jsonl was not made by an earlier run" in capsys.readouterr().err
    assert (tmp_path / "camera_0.jsonl").read_text() == "mine"


def test_the_verb_reads_a_stream_by_its_url(tmp_path, tiny_onnx, capsys):
    with serve_mjpeg(0, 100, 200) as url:
        code = main(["predict", f"{url}?token=secret", f"--model={tiny_onnx}", f"--save_path={tmp_path}"])
    out, err = capsys.readouterr()
    assert code == 0 and f"warning: {url} ended after " in err and "secret" not in out + err
    (file,) = tmp_path.glob("*.jsonl")
    assert file.name.endswith("_hall_live.mjpg.jsonl") and lines_of(tmp_path, file.stem)[0]["source"] == url


def test_a_camera_that_is_not_there_ends_the_verb_with_one_sentence(tmp_path, tiny_onnx, capfd):
    assert main(["predict", "999", f"--model={tiny_onnx}", f"--save_path={tmp_path / 'out'}"]) == 1
    assert capfd.readouterr().err.startswith("error: camera 999 cannot be opened. Is the camera connected")
    assert not (tmp_path / "out").exists()


def test_a_word_that_is_no_source_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["predict", "ftp://host/a.mp4"])
    assert "argument SOURCE: 'ftp://host/a.mp4': expected a path, the number of a camera, or" in capsys.readouterr().err


def test_an_interrupt_keeps_the_first_frames_of_a_video(clip, tmp_path, monkeypatch):
    def interrupt(level):
        if level > 100:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt, match=r"walk\.json holds the 1 frame done so far; the same command begins"):
        predict_video(clip, model(interrupt), out)
    found = require_valid(json.loads((out / "walk.json").read_text()), "video")
    assert [frame["frame"] for frame in found["frames"]] == [0]
    assert len(frames_of(out / "walk.mp4", monkeypatch)[1]) == 1


def test_a_video_without_a_copy(clip, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "walk.mp4").write_text("mine")
    predict_video(clip, model(), tmp_path / "out", Footage(writes_copy=False))
    found = require_valid(json.loads((tmp_path / "out" / "walk.json").read_text()), "video")
    assert found["copy"] is None and len(found["frames"]) == 3
    assert (tmp_path / "out" / "walk.mp4").read_text() == "mine"


class Desktop:
    """Stands in for OpenCV's windows: what was shown, how long was waited, and which key the user presses."""

    def __init__(self, monkeypatch, keys=(), is_closed=False):
        self.shown, self.waits, self.closed, self.keys = [], [], 0, iter(keys)
        monkeypatch.setattr(view.cv2, "imshow", lambda name, picture: self.shown.append(picture.copy()), raising=False)
        monkeypatch.setattr(view.cv2, "waitKey", self.wait, raising=False)
        monkeypatch.setattr(view.cv2, "destroyAllWindows", self.close, raising=False)
        visible = -1.0 if is_closed else 1.0
        monkeypatch.setattr(view.cv2, "getWindowProperty", lambda name, which: visible, raising=False)

    def wait(self, delay_ms):
        self.waits.append(delay_ms)
        return next(self.keys, -1)

    def close(self):
        self.closed += 1


@pytest.mark.parametrize(
    ("keys", "is_closed", "shown"),
    [([], False, 3), ([-1, 27], False, 2), ([ord("q")], False, 1), ([ord("x")], False, 3), ([], True, 1)],
    ids=["to the end", "Esc", "q", "another key", "closed"],
)
def test_a_window_shows_each_frame_until_the_user_ends_it(clip, tmp_path, monkeypatch, keys, is_closed, shown):
    desktop = Desktop(monkeypatch, keys, is_closed)
    summary = predict_video(clip, model(), tmp_path / "out", Footage(view=View(show=True)))
    assert len(desktop.shown) == summary.images == shown
    assert (desktop.waits, desktop.closed) == ([1] * shown, 1)
    assert len(json.loads((tmp_path / "out" / "walk.json").read_text())["frames"]) == shown


def test_the_delay_is_the_windows_or_a_pause(clip, tmp_path, monkeypatch):
    desktop, pauses = Desktop(monkeypatch), []
    monkeypatch.setattr(view.time, "sleep", pauses.append)
    predict_video(clip, model(), tmp_path / "out", Footage(limit=1, view=View(show=True, delay_ms=0)))
    assert (desktop.waits, pauses) == ([0], [])  # 0 waits for a key, as segmentoly's demo
    predict_video(clip, model(), tmp_path / "out", Footage(limit=2, view=View(delay_ms=250)))
    assert pauses == [0.25, 0.25]


def test_the_end_by_the_user_is_no_end_of_the_camera(camera, tmp_path, monkeypatch):
    Desktop(monkeypatch, [27])
    camera.put(1)
    assert predict_live(CAMERA, model(), tmp_path, Footage(view=View(show=True))).warnings == []


@pytest.mark.needs("trackers")
def test_objects_keep_their_number_over_frames(camera, tmp_path):
    camera.put(200)
    following = iter([210, 220, None])
    predict_live(CAMERA, model(lambda level: camera.put(next(following))), tmp_path, Footage(tracks=True))
    assert [line["detections"][0]["track_id"] for line in lines_of(tmp_path)] == [None, 1, 1]


def test_single_images_are_not_tracked(tmp_path, capsys):
    picture = tmp_path / "a.png"
    cv2.imwrite(str(picture), np.zeros((20, 30, 3), np.uint8))
    assert main(["predict", str(picture), "--track"]) == 2
    assert f"--track numbers the objects of a video, a camera or a stream; {picture} holds" in capsys.readouterr().err


def test_ctrl_c_ends_a_process_that_waits_for_a_stream_that_hangs(tmp_path, tiny_onnx):
    """With everything real: signal, thread in FFmpeg, exit code, and the files that stay."""
    with serve_mjpeg(*range(40), then_hang=True) as url:
        command = [sys.executable, "-m", "yolact_ascend", "predict", url, f"--model={tiny_onnx}", "--threads=1"]
        words = [f"--save_path={tmp_path}", "--timeout=60"]
        process = subprocess.Popen([*command, *words], cwd=CHECKOUT, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and not any(path.stat().st_size for path in tmp_path.glob("*.jsonl")):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    (file,) = tmp_path.glob("*.jsonl")
    count = len(lines_of(tmp_path, file.stem))
    assert f"\ninterrupted: {file} has the {count} frame" in err and file.with_suffix(".mp4").stat().st_size > 0
