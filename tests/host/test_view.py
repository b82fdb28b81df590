"""What is drawn by choice, the rate, and hosts without windows."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from played import CONFIG, MeanDetector, save_averaging

from yolact_ascend import environment
from yolact_ascend.cli.main import main, parse_arguments
from yolact_ascend.detection.detections import Detections
from yolact_ascend.detection.draw import class_colour
from yolact_ascend.errors import UsageError
from yolact_ascend.host import view
from yolact_ascend.host.found import Found
from yolact_ascend.host.model import Model
from yolact_ascend.host.view import View, Viewer, require_window
from yolact_ascend.images.reader import PictureSource
from yolact_ascend.targets.onnxruntime.engine import OnnxEngine

GREY = 100


def found(track_ids=None):
    """One object of class 2 in a grey picture."""
    pixels = np.full((120, 160, 3), GREY, np.uint8)
    detections = Detections(np.array([2]), np.array([0.75]), np.array([[40, 60, 100, 110]]), None)
    return Found(detections, CONFIG, 120, 160, PictureSource(pixels, "a picture"), track_ids)


def is_box(picture):
    return (picture[85, 40] != GREY).any()


def ink(picture):
    """The width of the label above the box, in pixels."""
    return int((picture[:60] != GREY).any(axis=(0, 2)).sum())


def draw(**choices):
    return Viewer(View(**choices), 1).draw(found())


def test_boxes_and_scores_are_drawn_unless_they_are_left_out():
    whole, no_box, no_score = draw(), draw(show_boxes=False), draw(show_scores=False)
    assert is_box(whole) and not is_box(no_box) and is_box(no_score)
    assert ink(whole) == ink(no_box) > ink(no_score) > 0  # "name 0.75" against "name"


def test_the_rate_stands_in_the_corner(monkeypatch):
    clock = iter([10.0, 10.5, 11.0, 11.0])
    monkeypatch.setattr(view.time, "perf_counter", lambda: next(clock))
    said = []
    monkeypatch.setattr(view, "draw_rate", lambda picture, rate: said.append(rate))
    viewer = Viewer(View(show_fps=True), 1)
    for _ in range(3):
        viewer.draw(found())
    assert said == [2.0, 2.0, 3.0]  # pictures over the seconds since the start, of the last ten
    monkeypatch.undo()
    assert (draw(show_fps=True)[:10, :30] != GREY).any() and (draw()[:10, :30] == GREY).all()


def test_a_track_has_its_own_colour_and_its_number_in_the_label():
    tracked, untracked = found(track_ids=(7,)), found(track_ids=(None,))
    category_id = CONFIG.category_ids[2]
    assert tuple(tracked.draw()[85, 40]) == class_colour(7) != class_colour(category_id)
    assert tuple(untracked.draw()[85, 40]) == class_colour(category_id)
    assert ink(tracked.draw()) > ink(untracked.draw())
    assert (tracked[0].track_id, untracked[0].track_id, found()[0].track_id) == (7, None, None)
    assert tracked.to_coco(1)[0]["track_id"] == 7 and untracked.to_coco(1)[0]["track_id"] is None
    assert "track_id" not in found().to_coco(1)[0]


@pytest.mark.parametrize(
    ("words", "drawn"),
    [
        ([], (True, True, False)),
        (["--show_fps"], (True, True, True)),
        (["--no_show_boxes", "--no_show_scores"], (False, False, False)),
        (["--show_boxes", "--show_scores", "--show_fps", "--no_show_fps"], (True, True, False)),
    ],
    ids=["default", "rate", "neither", "the last holds"],
)
def test_the_flags_choose_what_is_drawn(words, drawn):
    arguments = parse_arguments(["predict", "0", *words])
    assert (arguments.show_boxes, arguments.show_scores, arguments.show_fps) == drawn


def test_counters_by_layer_and_rates_by_step_are_printed_when_asked(tmp_path, capsys):
    """On ONNX Runtime, whose own profiler measures the one layer of the network."""
    pytest.importorskip("onnx")
    picture, model = tmp_path / "a.png", save_averaging(tmp_path / "m.onnx")
    cv2.imwrite(str(picture), np.full((20, 30, 3), GREY, np.uint8))
    given = SimpleNamespace(open=lambda settings: Model([OnnxEngine(model)], MeanDetector()))
    for words, is_there in (([], False), (["--show_pc", "--show_fps"], True)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("yolact_ascend.host.loading.choose_model", lambda request: given)
            assert main(["predict", str(picture), f"--model={model}", f"--save_path={tmp_path / 'out'}", *words]) == 0
        out = capsys.readouterr().out
        assert ("| layer " in out and "Conv" in out) == ("images/s of each step: decode " in out) == is_there


def test_a_target_without_counters_is_said_before_any_work(tmp_path, monkeypatch, capsys):
    picture = tmp_path / "a.png"
    cv2.imwrite(str(picture), np.full((20, 30, 3), GREY, np.uint8))
    engine = SimpleNamespace(batch_size=1)
    given = SimpleNamespace(open=lambda settings: Model([engine], MeanDetector()))
    monkeypatch.setattr("yolact_ascend.host.loading.choose_model", lambda request: given)
    assert main(["predict", str(picture), "--show_pc", f"--save_path={tmp_path / 'out'}"]) == 2
    assert "has no performance counters by layer: only target=openvino and" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_opencv_without_windows_is_said_before_any_work(tmp_path, capsys):
    """The one that we install: opencv-python-headless."""
    assert main(["predict", "0", "--model=none.onnx", "--show", f"--save_path={tmp_path / 'out'}"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: --show: this OpenCV has no windows (opencv-python-headless). Install opencv-python")
    assert "Or leave out --show: --save_path gets what is drawn." in said and not (tmp_path / "out").exists()


def test_a_host_without_a_display_is_said(monkeypatch):
    monkeypatch.setattr(view.cv2, "getBuildInformation", lambda: "  GUI:                           QT5\n")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(environment.sys, "platform", "linux")
    with pytest.raises(UsageError, match=r"there is no display \(neither DISPLAY nor WAYLAND_DISPLAY is set\)"):
        require_window()
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    require_window()
