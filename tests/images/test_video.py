"""Videos as cameras make them: high and varying frame rates, odd sizes, files that end early."""

import contextlib

import cv2
import numpy as np
import pytest

from yolact_ascend.errors import DatasetError
from yolact_ascend.images import video as video_module
from yolact_ascend.images.video import VARYING_FPS, Video, VideoCopy, copy_video

SIZE = (64, 48)


def write(path, fps=25.0, count=6, size=SIZE, codec="MJPG"):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, size)
    assert writer.isOpened()
    for number in range(count):
        writer.write(np.full((size[1], size[0], 3), 10 * number, np.uint8))
    writer.release()
    return path


def read_all(path, limit=None):
    with contextlib.closing(Video(path, limit)) as video:
        return list(video.frames()), video


def levels(path):
    """Return the median of each frame of a file, in tens."""
    return [round(float(np.median(frame.pixels)) / 10) for frame in read_all(path)[0]]


@pytest.mark.parametrize("fps", [25.0, 10.0, 59.94, 239.76])
def test_frames_come_with_their_times(tmp_path, fps):
    frames, video = read_all(write(tmp_path / "a.avi", fps))
    assert [round(float(np.median(frame.pixels)) / 10) for frame in frames] == list(range(6))
    np.testing.assert_allclose([frame.time_ms for frame in frames], np.arange(6) * 1000 / fps, rtol=2e-3)
    assert video.stated_fps == pytest.approx(fps, rel=1e-3) and video.fps == video.stated_fps
    assert (video.size, video.stated_count, video.warning) == (SIZE, 6, None)


def test_a_limit_ends_early_without_a_warning(tmp_path):
    frames, video = read_all(write(tmp_path / "a.avi"), 2)
    assert (len(frames), video.warning) == (2, None)


def copy(source, target, limit=None):
    with contextlib.closing(Video(source, limit)) as video, copy_video(target, video.fps, video.size, ()) as written:
        for frame in video.frames():
            written.write(frame.pixels, frame.time_ms)
    return written


@pytest.mark.parametrize("fps", [25.0, 239.763])
def test_a_copy_of_a_steady_video_has_its_frames_and_rate(tmp_path, fps):
    """ultralytics#308: 239.76 frames/s, whose clock MPEG-4 does not have."""
    write(tmp_path / "a.avi", fps)
    written = copy(tmp_path / "a.avi", tmp_path / "b.mp4")
    assert written.fps == pytest.approx(fps, rel=1e-4)
    assert levels(tmp_path / "b.mp4") == list(range(6))
    assert {path.name for path in tmp_path.iterdir()} == {"a.avi", "b.mp4"}


class PlayedCapture:
    """Plays frames at given times, as OpenCV plays a file whose container has a clock and no rate."""

    def __init__(self, times_ms, fps=1000.0, count=0):
        self.times_ms, self.fps, self.count, self.place = times_ms, fps, count, -1

    def read(self):
        self.place += 1
        if self.place == len(self.times_ms):
            return False, None
        return True, np.full((SIZE[1], SIZE[0], 3), 10 * self.place % 256, np.uint8)

    def grab(self):
        return self.read()[0]

    def get(self, what):
        known = {cv2.CAP_PROP_FPS: self.fps, cv2.CAP_PROP_FRAME_COUNT: self.count}
        return known[what] if what in known else self.times_ms[self.place]

    def release(self):
        pass


@pytest.fixture
def play(tmp_path, monkeypatch):
    def play(*arguments, **more):
        (tmp_path / "a.webm").touch()
        monkeypatch.setattr(video_module.cv2, "VideoCapture", lambda _: PlayedCapture(*arguments, **more))
        return tmp_path / "a.webm"

    yield play


# As OpenCV 5 reads the file that opencv#24000 is about: 12 frames in 2 seconds, "1000 frames/s".
VARYING_MS = [0.0, 266, 486, 618, 763, 811, 871, 910, 1007, 1338, 1609, 1976]


def test_a_varying_frame_rate_keeps_its_times_and_its_length(play, tmp_path, monkeypatch):
    with monkeypatch.context():
        source = play(VARYING_MS, count=2322)
        frames, video = read_all(source)
        assert [frame.time_ms for frame in frames] == VARYING_MS
        assert (video.fps, video.warning) == (VARYING_FPS, None)
        copy(source, tmp_path / "b.mp4")
    monkeypatch.undo()
    shown = levels(tmp_path / "b.mp4")
    assert len(shown) / VARYING_FPS == pytest.approx(2.0)
    assert shown == sorted(shown) and set(shown) == set(range(12))
    for number, time_ms in enumerate(VARYING_MS):
        assert shown.index(number) == pytest.approx(time_ms * VARYING_FPS / 1000, abs=1)


def test_a_rate_that_is_only_a_mean_makes_the_copy_no_longer(play, tmp_path, monkeypatch):
    """As phones and screen recorders write: 10 frames in 10 s, then 60 in 1 s; the container states the mean."""
    times_ms = [1000.0 * second for second in range(10)] + [10000 + 1000 * place / 60 for place in range(60)]
    with monkeypatch.context():
        source = play(times_ms, fps=70 / 11, count=70)
        written = copy(source, tmp_path / "b.mp4")
    monkeypatch.undo()
    assert written.fps == pytest.approx(60, rel=1e-3)
    assert len(levels(tmp_path / "b.mp4")) / 60 == pytest.approx(11, abs=0.1)


def test_times_begin_with_the_first_frame_and_are_made_up_where_there_are_none(play):
    assert [frame.time_ms for frame in read_all(play([40.0, 80, 120], fps=25.0))[0]] == [0, 40, 80]
    assert [frame.time_ms for frame in read_all(play([0.0, 0, 0], fps=25.0))[0]] == [0, 40, 80]


@pytest.mark.parametrize("fps", [0.0, float("nan"), -1.0])
def test_a_video_that_does_not_say_how_fast_it_is_has_25_frames_a_second(play, fps):
    assert [frame.time_ms for frame in read_all(play([0.0, 0], fps=fps))[0]] == [0, 40]


def test_a_video_that_ends_early_is_said(tmp_path):
    """opencv#11782: half of the frames are there."""
    whole = write(tmp_path / "a.avi", count=24, size=(320, 240)).read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) // 2])
    frames, video = read_all(tmp_path / "cut.avi")
    assert 4 < len(frames) < 20
    assert video.warning.startswith(f"{tmp_path / 'cut.avi'} has less than its container states: {len(frames)} frames")
    assert " s of 0.96 s. Is it cut short, or" in video.warning
    assert read_all(tmp_path / "a.avi")[1].warning is None


@pytest.mark.parametrize(("size", "even"), [((65, 49), (66, 50)), ((65, 48), (66, 48)), (SIZE, SIZE)])
def test_an_odd_size_is_filled_up_and_nothing_is_cut_off(tmp_path, size, even):
    written = VideoCopy(tmp_path / "b.mp4", 25.0, *size)
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[-8:, -8:] = 255
    for number in range(3):
        written.write(pixels, 40.0 * number)
    written.close()
    frames, video = read_all(tmp_path / "b.mp4")
    assert (written.size, video.size, len(frames)) == (even, even, 3)
    assert frames[0].pixels[-4:, -4:].min() > 200


def test_a_frame_of_another_size_is_scaled_to_the_first(tmp_path):
    """A camera that changes its size midway: OpenCV's writer would drop the frame silently."""
    written = VideoCopy(tmp_path / "b.mp4", 25.0, *SIZE)
    for number, (height, width) in enumerate([(48, 64), (96, 128), (20, 30)]):
        written.write(np.full((height, width, 3), 100 * number, np.uint8), 40.0 * number)
    written.close()
    assert levels(tmp_path / "b.mp4") == [0, 10, 20]


@pytest.mark.parametrize("content", [b"", b"no video"])
def test_what_is_no_video_is_refused(tmp_path, content):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(DatasetError, match=rf"a\.mp4 \({len(content)} bytes\) cannot be read as a video"):
        Video(tmp_path / "a.mp4")
    with pytest.raises(DatasetError, match="There is no video"):
        Video(tmp_path / "b.mp4")
