"""Cameras and network streams: a thread reads all the time, and the newest frame is the one that is given.

Read by OpenCV: cameras by the system (V4L2 on Linux), streams by the FFmpeg in it. The times are those of this host's
clock when a frame arrived, as many streams state none.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from yolact_ascend.environment import silence_ffmpeg
from yolact_ascend.errors import DatasetError
from yolact_ascend.images.live_source import LiveSource
from yolact_ascend.images.video import VARYING_FPS, Frame

WAIT_S = 10.0  # for the next frame
LONGER_S = 5.0  # FFmpeg gives up this much later than we do
CLOSE_S = 1.0  # for the thread to end


class _Arrived(NamedTuple):
    pixels: np.ndarray  # BGR uint8 [H,W,3]
    time_s: float  # when it came, by this host's clock
    number: int  # of the frames that came, from 1


class Live:
    """The frames of a camera or stream as they come; raises DatasetError when there is none. Close it.

    Whoever is slower than the source gets the newest frame, and how many were left out before it. Only that one and the
    one that is being read are in memory. A source that gives nothing for `wait_s` seconds raises DatasetError.
    """

    def __init__(self, source: LiveSource, wait_s: float = WAIT_S) -> None:
        self.fps = VARYING_FPS  # of a copy: a frame is repeated until the next one's time
        self._source, self._wait_s = source, wait_s
        self._changed = threading.Condition()
        self._newest: _Arrived | None = None
        self._failure: str | None = None  # at the end: "" when it just ended
        self._is_closed = False
        silence_ffmpeg()
        cv2.utils.logging.setLogLevel(
            cv2.utils.logging.LOG_LEVEL_SILENT
        )  # what the system reports is said in our sentence
        self._thread = threading.Thread(target=self._read_all, name=f"reader of {source}", daemon=True)
        self._thread.start()
        try:
            first = self._next(0)
        except BaseException:
            self.close()
            raise
        if first is None:
            self.close()
            raise DatasetError(f"{source} gave no frame. {self._advice}")
        self._start_s = first.time_s
        self.size = first.pixels.shape[1], first.pixels.shape[0]  # width, height

    def frames(self, limit: int | None = None) -> Iterator[Frame]:
        """Give the newest frame, again and again, until the source ends; the first `limit` (None: all) of them."""
        given = 0
        for _ in itertools.count() if limit is None else range(limit):
            arrived = self._next(given)
            if arrived is None:
                return
            yield Frame(arrived.pixels, 1000 * (arrived.time_s - self._start_s), arrived.number - given - 1)
            given = arrived.number

    def close(self) -> None:
        """Stop reading; a thread that hangs in the driver or the network is left to the end of the process."""
        with self._changed:
            self._is_closed = True
        self._thread.join(CLOSE_S)

    def _next(self, given: int) -> _Arrived | None:
        """Wait for a frame after the first `given`; returns None when the source has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._count > given or self._failure is not None, self._wait_s)
            if self._count > given:
                return self._newest
            if self._failure is None:
                raise DatasetError(
                    f"{self._source} gave no frame for {self._wait_s:g} s. {self._advice} A longer wait: "
                    "--timeout=SECONDS."
                )
            if self._failure:
                raise DatasetError(self._failure)
        return None

    @property
    def _count(self) -> int:
        return 0 if self._newest is None else self._newest.number

    @property
    def _advice(self) -> str:
        if isinstance(self._source.address, int):
            return "Is the camera connected, free, and may this user read it (ls -l /dev/video*)?"
        return "Does its server run, and does the address lead to a stream?"

    def _read_all(self) -> None:
        """Read frames until the end; what happened goes into `_failure`."""
        failure = ""
        try:
            failure = self._read_frames()
        except Exception as error:  # whatever OpenCV's backends raise
            failure = f"{self._source} cannot be read: {error}."
        with self._changed:
            self._failure = failure
            self._changed.notify_all()

    def _read_frames(self) -> str:
        """Read frames until the end; returns why there was none."""
        capture = self._open()
        try:
            if not capture.isOpened():
                return f"{self._source} cannot be opened. {self._advice}"
            count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
            if isinstance(self._source.address, str) and count > 0:
                return f"{self._source} is a file of {count:.0f} frames. Download it, and pass the file."
            for number in itertools.count(1):
                is_read, pixels = capture.read()
                with self._changed:
                    if not is_read or self._is_closed:
                        return ""
                    self._newest = _Arrived(pixels, time.monotonic(), number)
                    self._changed.notify_all()
        finally:
            capture.release()
        return ""

    def _open(self) -> cv2.VideoCapture:
        if isinstance(self._source.address, int):
            return cv2.VideoCapture(self._source.address)
        give_up_ms = round(1000 * (self._wait_s + LONGER_S))
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, give_up_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, give_up_ms]
        return cv2.VideoCapture(self._source.address, cv2.CAP_FFMPEG, limits)
