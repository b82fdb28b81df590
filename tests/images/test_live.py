"""Cameras and streams: the newest frame only, in constant memory, and each way in which a source can fail."""

import contextlib
import weakref
from pathlib import Path

import cv2
import numpy as np
import pytest
from live_sources import PlayedCamera, serve_mjpeg

from yolact_ascend.errors import DatasetError
from yolact_ascend.images import live as live_module
from yolact_ascend.images.live import Live
from yolact_ascend.images.live_source import LiveSource, read_source

CAMERA = LiveSource(0)


@pytest.fixture
def camera(monkeypatch):
    played = PlayedCamera()
    monkeypatch.setattr(live_module.cv2, "VideoCapture", played)
    yield played
    played.put(None)  # the reader ends


def read_all(live):
    with contextlib.closing(live):
        return list(live.frames())


@pytest.mark.parametrize(
    ("word", "source", "name", "stem"),
    [
        ("0", LiveSource(0), "camera 0", "camera_0"),
        ("12", LiveSource(12), "camera 12", "camera_12"),
        ("rtsp://10.0.0.5/ch1", LiveSource("rtsp://10.0.0.5/ch1"), "rtsp://10.0.0.5/ch1", "10.0.0.5_ch1"),
        (
            "RTSP://me:secret@10.0.0.5:554/a/b?token=secret",
            LiveSource("RTSP://me:secret@10.0.0.5:554/a/b?token=secret"),
            "rtsp://10.0.0.5:554/a/b",
            "10.0.0.5_554_a_b",
        ),
        ("udp://[::1]:5000", LiveSource("udp://[::1]:5000"), "udp://[::1]:5000", "1_5000"),
        ("./0", Path("0"), "0", "0"),
        ("clip.mp4", Path("clip.mp4"), "clip.mp4", "clip"),
        ("²", Path("²"), "²", "²"),
    ],
)
def test_a_word_is_a_camera_a_stream_or_a_path(word, source, name, stem):
    """No user, password or token of a URL gets into a sentence, a file or a file's name."""
    found = read_source(word)
    assert (found, str(found), found.stem) == (source, name, stem)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("1000", "a camera's number of at most 3 digits, or a path such as ./NUMBER"),
        ("9" * 5000, "a camera's number of at most 3 digits"),
        ("file:///etc/passwd", "a path, the number of a camera, or a stream's URL (rtsp, "),
        ("ftp://host/a.mp4", "a path, the number of a camera, or a stream's URL"),
        ("rtsp://", "://HOST/…)"),
        ("http://[::1/x", "://HOST/…)"),
        ("", "a path"),
    ],
)
def test_what_is_no_source_is_refused(word, said):
    with pytest.raises(ValueError) as caught:
        read_source(word)
    assert said in str(caught.value)


def test_whoever_is_slow_gets_the_newest_frame_and_is_told_how_many_were_left_out(camera):
    camera.put(0)
    with contextlib.closing(Live(CAMERA)) as live:
        frames = live.frames()
        first = next(frames)
        camera.put(*range(1, 200))
        camera.wait_for(201)  # all were read: the reader asks for one that is not there
        second = next(frames)
        camera.put(200)
        third = next(frames)
        camera.put(None)
        assert list(frames) == []
    shown = [(int(frame.pixels[0, 0, 0]), frame.skipped) for frame in (first, second, third)]
    assert shown == [(0, 0), (199, 198), (200, 0)]
    assert camera.opened == [(0,)] and live.size == (30, 20) and camera.released.wait(10)


def test_a_slow_consumer_keeps_one_frame_in_memory(camera):
    made = []
    for level in range(100):
        frame = np.full((20, 30, 3), level, np.uint8)
        made.append(weakref.ref(frame))
        camera.frames.put(frame)
        del frame
    with contextlib.closing(Live(CAMERA)):
        camera.wait_for(101)
        assert [number for number, frame in enumerate(made) if frame() is not None] == [99]
        camera.put(None)


def test_times_are_those_of_the_arrival(camera, monkeypatch):
    clock = iter([10.0, 10.5, 12.25])
    monkeypatch.setattr(live_module.time, "monotonic", lambda: next(clock))
    camera.put(1)
    times = []
    with contextlib.closing(Live(CAMERA)) as live:
        for level, frame in zip((2, 3, None), live.frames()):
            times.append(frame.time_ms)
            camera.put(level)
    assert times == [0.0, 500.0, 2250.0]


def test_a_limit_ends_it(camera):
    camera.put(1)
    with contextlib.closing(Live(CAMERA)) as live:
        seen = [(frame.time_ms, camera.put(2)) for frame in live.frames(limit=2)]
        camera.put(None)
    assert len(seen) == 2


def test_a_camera_that_is_not_there_is_one_sentence(capfd):
    """With the real OpenCV: a machine that has a camera 999 is not a host of these tests."""
    with pytest.raises(DatasetError, match=r"camera 999 cannot be opened\. Is the camera connected, free, and may"):
        Live(LiveSource(999))
    assert capfd.readouterr().err == ""


def test_a_server_that_is_not_there_is_one_sentence_without_the_password(capfd):
    with pytest.raises(DatasetError, match=r"^http://127\.0\.0\.1:9/x cannot be opened\. Does its server run, and"):
        Live(LiveSource("http://me:secret@127.0.0.1:9/x?token=1"))


def test_a_source_that_gives_no_frame_at_all(camera):
    camera.put(None)
    with pytest.raises(DatasetError, match=r"camera 0 gave no frame\. Is the camera connected"):
        Live(CAMERA)


def test_a_source_that_hangs_is_left_after_the_time_that_was_set(camera, monkeypatch):
    monkeypatch.setattr(live_module, "CLOSE_S", 0.01)
    camera.put(1)
    with pytest.raises(DatasetError, match=r"camera 0 gave no frame for 0\.05 s\. .* longer wait: --timeout=SECO"):
        read_all(Live(CAMERA, wait_s=0.05))


def test_a_reader_that_fails_is_said(camera, monkeypatch):
    def fail():
        raise cv2.error("V4L2: no such device")

    monkeypatch.setattr(camera, "read", fail)
    with pytest.raises(DatasetError, match=r"camera 0 cannot be read: V4L2: no such device\."):
        Live(CAMERA)


def test_a_file_on_a_server_is_no_live_stream(camera):
    """It would come as fast as the network, and most frames would be left out."""
    camera.stated_count = 250.0
    with pytest.raises(DatasetError, match=r"^http://host/a\.mp4 is a file of 250 frames\. Download it, and pass"):
        Live(LiveSource("http://host/a.mp4"))


def test_motion_jpeg_is_read_from_a_server_to_its_end():
    with serve_mjpeg(0, 100, 200) as url, contextlib.closing(Live(LiveSource(url))) as live:
        frames = list(live.frames())
    assert live.size == (64, 48)
    assert sum(frame.skipped + 1 for frame in frames) == 3
    assert frames[-1].pixels[24, 32, 0] == pytest.approx(200, abs=2)  # JPEG's rounding of one level


def test_a_server_that_says_nothing_more(monkeypatch):
    monkeypatch.setattr(live_module, "CLOSE_S", 0.01)
    said = pytest.raises(DatasetError, match=r"live\.mjpg gave no frame for 0\.5 s")
    with serve_mjpeg(*range(40), then_hang=True) as url, said:  # as many as FFmpeg wants to see before it begins
        read_all(Live(LiveSource(url), wait_s=0.5))
