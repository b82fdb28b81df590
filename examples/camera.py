"""What a camera or a video shows: python examples/camera.py MODEL 0 (or a video file) [seen.mp4 to write]."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator

import cv2
import numpy as np

import yolact_ascend


def frames(camera: cv2.VideoCapture) -> Iterator[np.ndarray]:
    """Give the frames, BGR, until there are no more."""
    while True:
        is_read, frame = camera.read()
        if not is_read:
            return
        yield frame


def main(model_path: str, source: str, written: str | None = None) -> None:
    """Print what is in each frame, and write the frames with it drawn in."""
    camera = cv2.VideoCapture(int(source) if source.isdigit() else source)
    if not camera.isOpened():
        sys.exit(f"{source} cannot be opened.")
    rate, writer = camera.get(cv2.CAP_PROP_FPS) or 25.0, None
    with yolact_ascend.load(model_path) as model:
        for number, found in enumerate(model.stream(frames(camera))):
            print(number, dict(Counter(found.class_names)), flush=True)
            if written:
                size = (found.width_px, found.height_px)
                writer = writer or cv2.VideoWriter(written, cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
                writer.write(found.draw())
    camera.release()
    if writer:
        writer.release()


if __name__ == "__main__":
    main(*sys.argv[1:])
