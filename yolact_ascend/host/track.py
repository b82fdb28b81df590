"""Numbers for objects that stay over the frames of a video, by the package `trackers`."""

from __future__ import annotations

import dataclasses
import sys
import warnings
from typing import TYPE_CHECKING

import numpy as np

from yolact_ascend.errors import NotInstalledError
from yolact_ascend.extras import require_module
from yolact_ascend.host import arguments
from yolact_ascend.host.found import Found

if TYPE_CHECKING:
    from trackers import ByteTrackTracker

PACKAGE = "trackers"
LEAST_FPS, MOST_FPS = 1e-3, 1e6
LEAST_PYTHON = (3, 10)  # of that package
START_SCORE = 0.5  # of an object that begins a track; a lower one may continue it
LOST_S = 1.0  # that a track waits for its object,
LOST_FRAMES = 5  # and at least so many frames: a slow model sees few in a second


def require_trackers() -> None:
    """Raise NotInstalledError where objects cannot be followed, before any work."""
    if sys.version_info < LEAST_PYTHON:
        found, least = (".".join(map(str, version[:2])) for version in (sys.version_info, LEAST_PYTHON))
        raise NotInstalledError(f"Tracking needs Python {least} or newer, for the package {PACKAGE}; this is {found}.")
    require_module(PACKAGE)


class Tracker:
    """Gives each object of a video a number, 1 and up, that it keeps over the frames: `found = tracker.update(found)`.

    One tracker is for one video or camera. The boxes are followed by ByteTrack (Zhang et al., 2022), each class by
    itself, so a number belongs to one class. An object has a number from its second frame on, and None before that.
    Raises NotInstalledError without the extra `track`.
    """

    def __init__(self, frames_per_s: float = 30.0) -> None:
        """Take the video's rate; times that are passed to `update` hold in its place. Raises UsageError for no rate."""
        require_trackers()
        import trackers  # seconds, which the first frame of a camera would be late

        self._package = trackers
        self._frames_per_s = arguments.read_number("frames_per_s", frames_per_s, LEAST_FPS, MOST_FPS)
        self._now_s = 0.0  # by the tracks' clock
        self._clock_s: float | None = None  # of the last frame
        self._trackers: dict[int, ByteTrackTracker] = {}  # by class
        self._numbers: dict[tuple[int, int], int] = {}  # of the tracks that are alive, by class and the package's id
        self._next = 1

    def update(self, found: Found, time_s: float | None = None) -> Found:
        """Return what was found in the next frame, with `track_ids`; `time_s` is when it was, for a varying rate."""
        detections = found.detections
        if time_s is not None:
            time_s = self._tracks_time(time_s)
        track_ids: list[int | None] = [None] * len(detections)
        for class_id in {*self._trackers, *detections.class_ids.tolist()}:
            rows = np.flatnonzero(detections.class_ids == class_id)
            for row, track_id in self._update_class(class_id, found, rows, time_s):
                track_ids[row] = self._number(class_id, track_id)
        self._forget()
        return dataclasses.replace(found, track_ids=tuple(track_ids))

    def _update_class(
        self, class_id: int, found: Found, rows: np.ndarray, time_s: float | None
    ) -> list[tuple[int, int]]:
        """Return which rows belong to which confirmed track. The package reorders rows: they carry their number."""
        from supervision import Detections as Supervised

        if class_id not in self._trackers:
            self._trackers[class_id] = self._open()
        given = Supervised(
            xyxy=found.boxes_xyxy_px[rows],
            confidence=found.scores[rows],
            data={"row": rows},
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # two frames at one time: it then predicts no motion
            tracked = self._trackers[class_id].update(given, timestamp=time_s)
        ids = np.full(0, -1) if tracked.tracker_id is None else tracked.tracker_id
        pairs = zip(np.asarray(tracked.data.get("row", ())).tolist(), ids.tolist())
        return [(row, track_id) for row, track_id in pairs if track_id >= 0]

    def _tracks_time(self, time_s: float) -> float:
        """Return the time of a frame for the tracks: after a long gap, or one back in time, they do not end at once."""
        since_s = 0.0 if self._clock_s is None else time_s - self._clock_s
        self._clock_s = time_s
        self._now_s += min(max(since_s, 0.0), LOST_S / LOST_FRAMES)
        return self._now_s

    def _open(self) -> ByteTrackTracker:
        return self._package.ByteTrackTracker(
            lost_track_buffer=round(30 * LOST_S),  # in frames at 30 a second, whatever the rate
            frame_rate=self._frames_per_s,
            track_activation_threshold=START_SCORE,
            high_conf_det_threshold=START_SCORE,
        )

    def _number(self, class_id: int, track_id: int) -> int:
        key = class_id, track_id
        if key not in self._numbers:
            self._numbers[key] = self._next
            self._next += 1
        return self._numbers[key]

    def _forget(self) -> None:
        """Drop the numbers of tracks that have ended, and the trackers of classes without any."""
        self._trackers = {class_id: tracker for class_id, tracker in self._trackers.items() if tracker.tracks}
        alive = {(class_id, each.tracker_id) for class_id, tracker in self._trackers.items() for each in tracker.tracks}
        self._numbers = {key: number for key, number in self._numbers.items() if key in alive}
