"""What is shown of a picture with its detections: by choice boxes, scores and the rate, and a window."""

from __future__ import annotations

import contextlib
import re
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from yolact_ascend.detection.draw import draw_rate
from yolact_ascend.environment import has_display
from yolact_ascend.errors import UsageError
from yolact_ascend.host.found import Found

WINDOW = "yolact-ascend"
END_KEYS = (27, ord("q"))  # 27: Esc
RATE_OVER = 10  # pictures
WITHOUT = "Or leave out --show: --save_path gets what is drawn."


@dataclass(frozen=True)
class View:
    """What `predict` draws into each picture, whether it opens a window, and how long it waits after each picture.

    `delay_ms` with a window: 0 waits for a key; None: 1 ms for a video or a camera, a key for pictures.
    """

    show_boxes: bool = True
    show_scores: bool = True
    show_fps: bool = False
    show: bool = False
    delay_ms: int | None = None


class Viewer:
    """Draws pictures by a view, and shows them; `is_ended` once the user has closed the window, or pressed Esc or q."""

    def __init__(self, view: View, window_delay_ms: int) -> None:
        """Take a view, and the delay that a window has where the view states none."""
        self._view = view
        self._delay_ms = view.delay_ms if view.delay_ms is not None else window_delay_ms if view.show else 0
        self._drawn_s = deque([time.perf_counter()], RATE_OVER + 1)
        self.is_ended = False

    def draw(self, found: Found) -> np.ndarray:
        """Return the picture, BGR uint8 [H,W,3], with what the view has drawn in."""
        picture = found.draw(show_boxes=self._view.show_boxes, show_scores=self._view.show_scores)
        self._drawn_s.append(time.perf_counter())
        if self._view.show_fps:
            draw_rate(picture, (len(self._drawn_s) - 1) / (self._drawn_s[-1] - self._drawn_s[0]))
        return picture

    def show(self, picture: np.ndarray) -> None:
        """Show a picture, if there is a window, and wait."""
        if not self._view.show:
            time.sleep(self._delay_ms / 1000)
            return
        cv2.imshow(WINDOW, picture)
        key = cv2.waitKey(self._delay_ms)
        is_closed = cv2.getWindowProperty(WINDOW, cv2.WND_PROP_VISIBLE) < 1
        self.is_ended = is_closed or (key >= 0 and key & 0xFF in END_KEYS)


@contextlib.contextmanager
def open_viewer(view: View, window_delay_ms: int) -> Iterator[Viewer]:
    """Give a viewer; its window closes at the end."""
    try:
        yield Viewer(view, window_delay_ms)
    finally:
        if view.show:
            cv2.destroyAllWindows()


def require_window() -> None:
    """Raise UsageError where no window can be opened, before any work."""
    if re.search(r"GUI:\s+NONE", cv2.getBuildInformation()):
        raise UsageError(
            "--show: this OpenCV has no windows (opencv-python-headless). Install opencv-python in its place. "
            f"{WITHOUT}"
        )
    if not has_display():
        raise UsageError(
            "--show: there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set). Start it on a desktop, or over "
            f"ssh -X. {WITHOUT}"
        )
