"""examples/camera.py on a video."""

import runpy

import cv2
import numpy as np
import pytest
from factories import CHECKOUT


def test_a_source_that_cannot_be_opened_ends_with_a_sentence(tiny_onnx, tmp_path):
    main = runpy.run_path(str(CHECKOUT / "examples" / "camera.py"))["main"]
    with pytest.raises(SystemExit, match=r"none\.mp4 cannot be opened"):
        main(str(tiny_onnx), str(tmp_path / "none.mp4"))


def test_what_a_video_shows_is_printed_and_written(tiny_onnx, tmp_path, capsys):
    source, seen = tmp_path / "walk.avi", tmp_path / "seen.mp4"
    writer = cv2.VideoWriter(str(source), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (160, 120))
    for level in (60, 120, 180):
        writer.write(np.full((120, 160, 3), level, np.uint8))
    writer.release()
    runpy.run_path(str(CHECKOUT / "examples" / "camera.py"))["main"](str(tiny_onnx), str(source), str(seen))
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["0", "1", "2"]
    copy = cv2.VideoCapture(str(seen))
    assert (copy.get(cv2.CAP_PROP_FRAME_COUNT), copy.get(cv2.CAP_PROP_FPS)) == (3, 10)
