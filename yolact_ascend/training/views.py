"""What a window of a picture shows of its objects: boxes, masks on a grid, and what is to be ignored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from yolact_ascend.models.config import Preprocessing
from yolact_ascend.training.augment import Augmentation, Window, canvas_colour, cut_window, distort_colours, draw_window
from yolact_ascend.training.objects import Objects, tight_box

SMALLEST_BOX = 4 / 550  # of the input's side; smaller objects are ignored (upstream: discard_box_width)
LEAST_KEPT = 0.2  # of an object's pixels must be in the window; else it is ignored, neither object nor background


class Sides(NamedTuple):
    """Height and width in pixels, of a network's input and of the grid that masks are on."""

    pixels: tuple[int, int]
    grid: tuple[int, int]


class View(NamedTuple):
    """What a network input shows: boxes [N,4] and masks [N,h,w] of 0 and 1 with class_ids [N], and ignored [M,4]."""

    boxes_xyxy_rel: np.ndarray
    masks: np.ndarray
    class_ids: np.ndarray
    ignored_xyxy_rel: np.ndarray


def augment(
    image: np.ndarray,
    objects: Objects,
    view_share: float,
    sides_of: Callable[[Window], Sides],
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    generator: np.random.Generator,
) -> tuple[np.ndarray, View]:
    """Draw a window of an image (BGR uint8 [H,W,3]); return its pixels, BGR float32 [h,w,3], and what they show.

    `view_share` is as `view` in `draw_window`; `sides_of` tells how large the window becomes.
    """
    height, width = image.shape[:2]
    boxes_px = objects.boxes_xyxy_px.astype(np.float32)
    centres = (boxes_px[:, :2] + boxes_px[:, 2:]) / 2
    window = draw_window(height, width, centres, view_share, augmentation, generator)
    mirror = augmentation.mirror and generator.random() < 0.5
    sides = sides_of(window)
    pixels = cut_window(image, window, sides.pixels, canvas_colour(preprocessing)).astype(np.float32)
    if augmentation.photometric:
        pixels = distort_colours(pixels, generator)
    view = cut_objects(objects, window, sides.grid, height, width)
    return (pixels[:, ::-1], mirror_view(view)) if mirror else (pixels, view)


def mirror_view(view: View) -> View:
    """Return the objects as they are in the mirror image."""

    def mirror(boxes_xyxy_rel: np.ndarray) -> np.ndarray:
        left, top, right, bottom = boxes_xyxy_rel.T
        return np.stack([1 - right, top, 1 - left, bottom], axis=1)

    return View(mirror(view.boxes_xyxy_rel), view.masks[:, :, ::-1], view.class_ids, mirror(view.ignored_xyxy_rel))


def cut_objects(objects: Objects, window: Window, grid: tuple[int, int], height: int, width: int) -> View:
    """Return the objects of an image of height×width pixels as a window of it shows them on a grid (h, w)."""
    origin = np.array([window.left, window.top] * 2, dtype=np.float32)
    size = np.array([window.right - window.left, window.bottom - window.top] * 2, dtype=np.float32)
    boxes, shown, ignored = [], [], []
    for number, (mask, box_px) in enumerate(zip(objects.masks, objects.boxes_xyxy_px.tolist())):
        left, top = max(window.left, box_px[0]), max(window.top, box_px[1])
        right, bottom = min(window.right, box_px[2]), min(window.bottom, box_px[3])
        if left >= right or top >= bottom:
            continue
        piece = mask[top - box_px[1] : bottom - box_px[1], left - box_px[0] : right - box_px[0]]
        kept = cv2.countNonZero(piece)
        if not kept:
            continue
        box = (np.add(tight_box(piece), [left, top] * 2, dtype=np.float32) - origin) / size
        if kept < LEAST_KEPT * cv2.countNonZero(mask) or min(box[2] - box[0], box[3] - box[1]) < SMALLEST_BOX:
            ignored.append(box)
            continue
        boxes.append(box)
        shown.append(number)
    crowds = np.clip((objects.crowds_xyxy_px - origin) / size, 0, 1)
    crowds = crowds[np.all(crowds[:, :2] < crowds[:, 2:], axis=1)]
    return View(
        np.array(boxes, dtype=np.float32).reshape(-1, 4),
        cut_masks(objects, shown, window, grid, height, width),
        objects.class_ids[shown],
        np.concatenate([np.array(ignored, dtype=np.float32).reshape(-1, 4), crowds]),
    )


def cut_masks(
    objects: Objects, shown: Sequence[int], window: Window, grid: tuple[int, int], height: int, width: int
) -> np.ndarray:
    """Return the masks of some objects [N,h,w] of 0 and 1 on a grid (h, w), as a window of the image shows them.

    Objects that share no cell are cut together: a large picture is resized once for dozens of them, not once for each.
    """
    rows, columns = grid
    cells = np.array([columns / (window.right - window.left), rows / (window.bottom - window.top)] * 2)  # a pixel
    margin = np.ceil(cells[:2]) + 1  # an enlarged pixel reaches into the cells of its neighbours
    places = (objects.boxes_xyxy_px[shown] - [window.left, window.top] * 2) * cells
    first = np.clip(np.floor(places[:, :2]) - margin, 0, (columns, rows)).astype(int)
    end = np.clip(np.ceil(places[:, 2:]) + margin, 0, (columns, rows)).astype(int)
    masks, canvas = np.zeros((len(shown), *grid), dtype=np.uint8), np.zeros((height, width), dtype=np.uint8)
    waiting = list(range(len(shown)))
    while waiting:
        taken, together, later = np.zeros(grid, dtype=bool), [], []
        for row in waiting:
            footprint = (slice(first[row, 1], end[row, 1]), slice(first[row, 0], end[row, 0]))
            if taken[footprint].any():
                later.append(row)
            else:
                taken[footprint] = True
                together.append((row, footprint))
        for row, _ in together:
            left, top, right, bottom = objects.boxes_xyxy_px[shown[row]]
            canvas[top:bottom, left:right] |= objects.masks[shown[row]] * np.uint8(255)
        seen = cut_window(canvas, window, grid) > 127
        for row, footprint in together:
            masks[row][footprint] = seen[footprint]
        canvas[:] = 0
        waiting = later
    return masks
