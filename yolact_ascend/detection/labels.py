"""Labels of objects as pictures: text in any script, and places where they do not cover each other.

ASCII is drawn by OpenCV's own font. Other text is drawn with a font of the host that has all its characters; where
there is none, the class's number stands for its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from yolact_ascend.detection.fonts import find_font

FONT = cv2.FONT_HERSHEY_SIMPLEX
PIXELS_AT_SCALE_1 = 30  # size of a font that looks as large as OpenCV's at scale 1
STEPS_DOWN = 6  # places below each other that are tried for a label

Box = Sequence[float]  # xyxy_px


def make_label(text: str, number: str, score: float | None, scale: float) -> np.ndarray:
    """Return a label's ink [h,w], 0 to 255; `number` is the class's, for a name that no font has."""
    if text.isascii():
        return _draw_ascii(text, scale)
    font = find_font("".join(sorted(set(text))))
    if font is None:
        return _draw_ascii(f"class {number}" if score is None else f"class {number} {score:.2f}", scale)
    return _draw_with(font, text, max(8, round(PIXELS_AT_SCALE_1 * scale)))


def _draw_ascii(text: str, scale: float) -> np.ndarray:
    (width, height), below = cv2.getTextSize(text, FONT, scale, 1)
    ink = np.zeros((height + 2 * below, width), np.uint8)
    cv2.putText(ink, text, (0, height + below), FONT, scale, 255, 1, cv2.LINE_AA)
    return ink


def _draw_with(path: Path, text: str, size_px: int) -> np.ndarray:
    font = ImageFont.truetype(str(path), size_px)
    left, top, right, bottom = font.getbbox(text)
    margin = max(2, size_px // 6)
    picture = Image.new("L", (round(right - left) + 2, round(bottom - top) + 2 * margin))
    ImageDraw.Draw(picture).text((1 - left, margin - top), text, fill=255, font=font)
    return np.asarray(picture)


def place_labels(boxes: Sequence[Box], labels: Sequence[np.ndarray], height: int, width: int) -> list[tuple[int, int]]:
    """Return x and y of each label's upper left corner: at its box, in the image, clear of the labels before it.

    Tried are: above the box, inside its upper and lower border, below it, and further down. The first of them is taken
    where none is clear.
    """
    places: list[tuple[int, int]] = []
    taken: list[tuple[int, int, int, int]] = []
    for box, label in zip(boxes, labels):
        label_height, label_width = label.shape
        left, top, _, bottom = (round(value) for value in box)
        x = max(0, min(left, width - label_width))
        above, inside = top - label_height, top
        steps = [inside + step * label_height for step in range(1, STEPS_DOWN)]
        rows = [above, inside, bottom - label_height, bottom, *steps]
        rows = [row for row in rows if 0 <= row <= height - label_height] or [max(0, min(top, height - label_height))]
        areas = [(x, row, x + label_width, row + label_height) for row in rows]
        area = next((area for area in areas if not any(_overlap(area, other) for other in taken)), areas[0])
        taken.append(area)
        places.append(area[:2])
    return places


def _overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
