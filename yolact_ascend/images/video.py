"""Video files: frames with their times, and a copy that is as long as its source.

Read and written by OpenCV, whose wheels hold an FFmpeg under the LGPL (docs/decisions.md).
"""

from __future__ import annotations

import contextlib
import itertools
import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from yolact_ascend.errors import ArtifactError, DatasetError

VIDEO_SUFFIXES = (
    *(".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"),
    *(".wmv", ".ts", ".flv", ".3gp"),
)
CODEC = "mp4v"
UNKNOWN_FPS = 25.0  # for a video that does not say how fast it is
FASTEST_FPS = 240.5  # more is the clock of a varying frame rate, not a rate
VARYING_FPS = 30.0  # at least, of the copy of a video with a varying rate; its frames are repeated
LEAST_GAP = 0.75  # of the time between two frames by the rate; a smaller gap shows that the rate is a mean
MOST_TICKS = 65535  # a second, in MPEG-4
SHORT_SHARE = 0.95  # of what the container says; a video that ends before that has lost frames


class Frame(NamedTuple):
    """One picture of a video: BGR uint8 [H,W,3], and when it is shown, in milliseconds from the first.

    Of a live source, `skipped` frames before it were not taken.
    """

    pixels: np.ndarray
    time_ms: float
    skipped: int = 0


class Video:
    """The first `limit` frames (None: all) of a video file; raises DatasetError when it cannot be read. Close it.

    The file is read twice, first for the times: where they are close together tells the rate of a copy.
    """

    def __init__(self, source: Path, limit: int | None = None) -> None:
        if not source.is_file():
            raise DatasetError(f"There is no video {source}.")
        self._source, self._is_limited = source, limit is not None
        with contextlib.closing(_Capture(source)) as capture:
            times_ms = list(itertools.islice(capture.times_ms(), limit))
        self._capture = _Capture(source)
        is_read, self._first = self._capture.read()
        if not is_read:
            self._capture.close()
            raise DatasetError(f"{source} ({source.stat().st_size} bytes) cannot be read as a video.")
        stated = self._capture.get(cv2.CAP_PROP_FPS)
        is_known = math.isfinite(stated) and stated > 0
        self.stated_fps = stated if is_known else UNKNOWN_FPS
        is_rate = self.stated_fps <= FASTEST_FPS
        self._times_ms = list(_increasing(times_ms, 1000 / (self.stated_fps if is_rate else VARYING_FPS)))
        gap_ms = min((after - before for before, after in zip(self._times_ms, self._times_ms[1:])), default=math.inf)
        self.is_varying = not is_rate or gap_ms < LEAST_GAP * 1000 / self.stated_fps
        varying_fps = min(max(VARYING_FPS, 1000 / gap_ms), FASTEST_FPS)
        self.fps = varying_fps if self.is_varying else self.stated_fps  # of a copy
        self.stated_count = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))  # 0: the container does not say
        self.count = len(self._times_ms)
        self.size = self._first.shape[1], self._first.shape[0]  # width, height
        self.warning: str | None = None  # after the last frame

    def frames(self) -> Iterator[Frame]:
        """Give the frames."""
        pixels = self._first
        for number, time_ms in enumerate(self._times_ms):
            if number:
                is_read, pixels = self._capture.read()
                if not is_read:
                    self._note_length(number)
                    return
            yield Frame(pixels, time_ms)
        if not self._is_limited:
            self._note_length(self.count)

    def _note_length(self, count: int) -> None:
        if self.is_varying:  # the last frame may stay for any time
            return
        wanted_ms = 1000 * self.stated_count / self.stated_fps
        found_ms = self._times_ms[count - 1] + 1000 / self.fps
        if count < self.stated_count and found_ms < SHORT_SHARE * wanted_ms:
            self.warning = (
                f"{self._source} has less than its container states: {count} frames could be read, "
                f"{found_ms / 1000:.2f} s of {wanted_ms / 1000:.2f} s. Is it cut short, or cut from a longer one?"
            )

    def close(self) -> None:
        """Close the file."""
        self._capture.close()


class _Capture:
    """OpenCV's reader of a file."""

    def __init__(self, source: Path) -> None:
        self._capture = cv2.VideoCapture(str(source))
        self.read, self.get, self.close = self._capture.read, self._capture.get, self._capture.release

    def times_ms(self) -> Iterator[float]:
        """Give the time of each frame, as the container states it, without its pixels."""
        while self._capture.grab():
            yield self._capture.get(cv2.CAP_PROP_POS_MSEC)


def _increasing(times_ms: Sequence[float], step_ms: float) -> Iterator[float]:
    """Count times from the first; where they do not grow, as in a container without times, by the rate."""
    time_ms = 0.0
    for number, stated_ms in enumerate(times_ms):
        if number:
            since_ms = stated_ms - times_ms[0]
            time_ms = since_ms if since_ms > time_ms else time_ms + step_ms
        yield time_ms


class VideoCopy:
    """A video that shows frames at their times, at a constant rate: a frame stays until the next one's time."""

    def __init__(self, path: Path, fps: float, width: int, height: int) -> None:
        # The codec has even sizes only, and OpenCV would cut the last column and row off.
        self.size = width + width % 2, height + height % 2
        self._own_size = width, height
        self._padding = (0, height % 2, 0, width % 2)  # top, bottom, left, right
        self._writer, self.fps = _open_writer(path, fps, self.size)
        self.count, self._last = 0, np.empty(0)

    def write(self, pixels: np.ndarray, time_ms: float) -> None:
        """Append a frame, BGR uint8 [H,W,3]; a stream that changes its size is scaled to that of its first frame."""
        if pixels.shape[1::-1] != self._own_size:
            pixels = cv2.resize(pixels, self._own_size, interpolation=cv2.INTER_AREA)
        if any(self._padding):
            pixels = cv2.copyMakeBorder(pixels, *self._padding, cv2.BORDER_REPLICATE)
        place = round(time_ms * self.fps / 1000)
        while self.count < place:
            self._append(self._last if self.count else pixels)
        if self.count == place:  # else another frame has its place: they are closer than the rate
            self._append(pixels)
        self._last = pixels

    def _append(self, pixels: np.ndarray) -> None:
        self._writer.write(pixels)
        self.count += 1

    def close(self) -> None:
        """Finish the file."""
        self._writer.release()


def _open_writer(path: Path, fps: float, size: tuple[int, int]) -> tuple[cv2.VideoWriter, float]:
    """Open a writer at the nearest rate that the codec has: MPEG-4 counts at most 65535 ticks a second."""
    for digits in (3, 2, 1, 0) if fps < MOST_TICKS / 1000 else (2, 1, 0):
        rate = round(fps, digits)
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*CODEC), rate, size)
        if writer.isOpened():
            return writer, rate
    raise ArtifactError(
        f"OpenCV cannot write {path} as {CODEC} at {fps:g} frames/s. Is this build of it without video?"
    )


@contextlib.contextmanager
def copy_video(
    path: Path, fps: float, size: tuple[int, int], keeps: tuple[type[BaseException], ...]
) -> Iterator[VideoCopy]:
    """Give a copy of a video to write; `path` appears when all is written, or when one of `keeps` ends the block."""
    # A folder, not a name that ends in .part: the ending tells OpenCV the format.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".predict-") as folder:
        temporary = Path(folder) / path.name
        copy = VideoCopy(temporary, fps, *size)
        try:
            yield copy
        except BaseException as error:
            copy.close()
            if isinstance(error, keeps) and copy.count:
                temporary.replace(path)
            raise
        copy.close()
        temporary.replace(path)
