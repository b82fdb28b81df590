"""The picture of a training's log."""

import cv2
import numpy as np
import pytest

from yolact_ascend.training.curve import draw_curve

LOSSES = {"box": 2.0, "conf": 3.0, "mask": 1.0, "segmentation": 0.5}
LOG = [{"step": step, **LOSSES} for step in (20, 40, 60)]


@pytest.mark.parametrize(
    "entries",
    [[], LOG, [*LOG, {"step": 60, "box_map": 40.0, "mask_map": None, "images": 5}]],
    ids=["empty", "losses", "and scores"],
)
def test_a_log_of_any_length_becomes_a_picture(tmp_path, entries):
    draw_curve(entries, tmp_path / "curve.png")
    assert cv2.imread(str(tmp_path / "curve.png")).shape == (500, 900, 3)


def test_the_picture_shows_the_losses(tmp_path):
    for name, entries in (("none", []), ("flat", LOG)):
        draw_curve(entries, tmp_path / f"{name}.png")
    pictures = [cv2.imread(str(tmp_path / f"{name}.png")).astype(int) for name in ("none", "flat")]
    assert np.abs(pictures[0] - pictures[1]).max() > 50
