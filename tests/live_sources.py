"""Live sources for tests: a camera that gives a frame when it is told to, and a server of Motion JPEG."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Iterator
from queue import SimpleQueue

import cv2
import numpy as np


class PlayedCamera:
    """Stands in for cv2.VideoCapture: gives what a test puts, and None is its end. It counts what was read."""

    def __init__(self, is_open: bool = True, stated_count: float = -1.0) -> None:
        self.is_open, self.stated_count = is_open, stated_count
        self.opened: list[tuple] = []
        self.frames: SimpleQueue = SimpleQueue()
        self.taken = threading.Semaphore(0)  # is released when a frame is asked for
        self.released = threading.Event()

    def __call__(self, *arguments: object) -> PlayedCamera:
        self.opened.append(arguments)
        return self

    def put(self, *levels: int | None) -> None:
        for level in levels:
            self.frames.put(None if level is None else np.full((20, 30, 3), level, np.uint8))

    def wait_for(self, count: int) -> None:
        """Wait until this many more frames were asked for: those asked for before are with the reader by then."""
        for _ in range(count):
            assert self.taken.acquire(timeout=10)

    def isOpened(self) -> bool:
        return self.is_open

    def get(self, what: int) -> float:
        return self.stated_count

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.taken.release()
        frame = self.frames.get()
        return frame is not None, frame

    def release(self) -> None:
        self.released.set()


@contextlib.contextmanager
def serve_mjpeg(*levels: int, then_hang: bool = False) -> Iterator[str]:
    """Serve frames of these levels as Motion JPEG, as cameras do; gives the URL. Then it closes, or hangs."""
    done = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for level in levels:
                    picture = cv2.imencode(".jpg", np.full((48, 64, 3), level, np.uint8))[1].tobytes()
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                    self.wfile.write(head.encode() + picture + b"\r\n")
                if then_hang:
                    done.wait(30)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hall/live.mjpg"
    finally:
        done.set()
        server.shutdown()
        thread.join()
        server.server_close()
