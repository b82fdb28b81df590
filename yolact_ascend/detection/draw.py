"""Drawing: masks, boxes and labels on an image, of detections or of annotations, and pictures side by side.

Images are BGR uint8 [H,W,3]; none is changed in place.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from yolact_ascend.detection.boxes import corners_of
from yolact_ascend.detection.detections import Detections
from yolact_ascend.detection.labels import FONT, make_label, place_labels
from yolact_ascend.detection.run_lengths import Rle
from yolact_ascend.detection.segmentation import encode_annotation
from yolact_ascend.errors import ArtifactError
from yolact_ascend.files import write_bytes

GOLDEN_RATIO = 0.618034  # hues this far apart stay apart, however many there are
MASK_OPACITY = 0.45
STRIPE_PX = 6  # a crowd's mask is striped
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
GAP_PX = 4  # between pictures side by side
JPEG_QUALITY = 90
JPEG_LONGEST_PX = 65_500  # libjpeg's JPEG_MAX_DIMENSION

Colour = tuple[int, int, int]  # blue, green, red


@dataclass(frozen=True)
class Instance:
    """One object to draw: its box in pixels of the image, and its encoded mask at the image's size, or None.

    Ground truth has no score. `track_id` is the number of a tracked object: its colour is of it, not of the class.
    """

    category_id: int
    name: str
    box_xyxy_px: tuple[float, float, float, float]
    mask: Rle | None
    score: float | None = None
    is_crowd: bool = False
    track_id: int | None = None

    @property
    def label(self) -> str:
        crowd = "crowd: " if self.is_crowd else ""
        number = "" if self.track_id is None else f" #{self.track_id}"
        score = "" if self.score is None else f" {self.score:.2f}"
        return f"{crowd}{self.name}{number}{score}"

    @property
    def colour(self) -> Colour:
        return class_colour(self.category_id if self.track_id is None else self.track_id)


def from_detections(
    detections: Detections,
    class_names: Sequence[str],
    category_ids: Sequence[int],
    track_ids: Sequence[int | None] | None = None,
) -> list[Instance]:
    """Return what was found in one image as instances to draw; class_names and category_ids are [K], track_ids [N]."""
    masks = detections.masks or [None] * len(detections)
    columns = (detections.class_ids.tolist(), detections.scores.tolist(), detections.boxes_xyxy_px.tolist())
    return [
        Instance(category_ids[class_id], class_names[class_id], tuple(box), mask, score, track_id=track_id)
        for class_id, score, box, mask, track_id in zip(*columns, masks, track_ids or [None] * len(detections))
    ]


def from_results(
    boxes: Sequence[Mapping[str, Any]], masks: Sequence[Mapping[str, Any]] | None, names: Mapping[int, str]
) -> list[Instance]:
    """Return one image's entries of COCO results files, in the same order in both, as instances to draw.

    `masks` is None where a network finds boxes only.
    """
    shapes = [None] * len(boxes) if masks is None else [mask["segmentation"] for mask in masks]
    return [
        Instance(box["category_id"], names[box["category_id"]], corners_of(box["bbox"]), shape, box["score"])
        for box, shape in zip(boxes, shapes)
    ]


def from_annotations(
    annotations: Sequence[Mapping[str, Any]], height: int, width: int, names: Mapping[int, str]
) -> list[Instance]:
    """Return one image's COCO annotations (polygons, run lengths, crowds) as instances to draw.

    Raises DatasetError when a mask is encoded at another size than the image's.
    """
    instances = []
    for annotation in annotations:
        mask = encode_annotation(annotation, height, width)
        category_id = annotation["category_id"]
        box = corners_of(annotation["bbox"])
        instances.append(Instance(category_id, names[category_id], box, mask, is_crowd=bool(annotation.get("iscrowd"))))
    return instances


def class_colour(number: int) -> Colour:
    """Return the colour of a class or track: the same in every picture, neighbours far apart, light enough for text."""
    red, green, blue = colorsys.hsv_to_rgb(number * GOLDEN_RATIO % 1.0, 0.7, 1.0)
    return round(255 * blue), round(255 * green), round(255 * red)


def draw_instances(
    image_bgr: np.ndarray, instances: Sequence[Instance], *, show_boxes: bool = True, show_scores: bool = True
) -> np.ndarray:
    """Return the image with each instance's mask blended in and outlined, its box and its label.

    The first ones lie on top, and their labels come first to a place: labels do not cover each other while there is
    room. `show_boxes` and `show_scores` False leave these out.
    """
    drawn = image_bgr.copy()
    if not show_scores:
        instances = [replace(instance, score=None) for instance in instances]
    for instance in reversed(instances):
        _blend_mask(drawn, instance)
    for instance in reversed(instances) if show_boxes else ():
        _draw_box(drawn, instance)
    scale = _font_scale(min(image_bgr.shape[:2]))
    labels = [make_label(instance.label, str(instance.category_id), instance.score, scale) for instance in instances]
    places = place_labels([instance.box_xyxy_px for instance in instances], labels, *image_bgr.shape[:2])
    for instance, label, place in reversed(list(zip(instances, labels, places))):
        _draw_label(drawn, label, place, instance.colour)
    return drawn


def draw_rate(image_bgr: np.ndarray, images_per_s: float) -> None:
    """Write a rate into the upper left corner of a picture that is ours, in place."""
    scale = _font_scale(min(image_bgr.shape[:2]))
    label = make_label(f"FPS: {images_per_s:.2f}", "", None, scale)
    _draw_label(image_bgr, label, (0, 0), WHITE)


def side_by_side(panels: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
    """Return pictures beside each other, each below its title."""
    height = max(image.shape[0] for _, image in panels)
    columns: list[np.ndarray] = []
    for title, image in panels:
        bar = np.full((_bar_height(height), image.shape[1], 3), BLACK, np.uint8)
        baseline = bar.shape[0] - bar.shape[0] // 3
        cv2.putText(
            bar,
            title.encode("ascii", "replace").decode(),
            (GAP_PX, baseline),
            FONT,
            _font_scale(height),
            WHITE,
            1,
            cv2.LINE_AA,
        )
        filler = np.zeros((height - image.shape[0], image.shape[1], 3), np.uint8)
        gap = np.zeros((bar.shape[0] + height, GAP_PX if columns else 0, 3), np.uint8)
        columns.append(np.hstack([gap, np.vstack([bar, image, filler])]))
    return np.hstack(columns)


def split_panels(picture: np.ndarray, count: int = 2) -> list[np.ndarray]:
    """Return the pictures, of one size, that `side_by_side` has put beside each other, without their titles."""
    whole, width = picture.shape[0], (picture.shape[1] - (count - 1) * GAP_PX) // count
    bar = next((whole - height for height in range(whole, 0, -1) if height + _bar_height(height) == whole), 0)
    return [picture[bar:, n * (width + GAP_PX) :][:, :width] for n in range(count)]


def write_jpeg(path: Path, image_bgr: np.ndarray, quality: int = JPEG_QUALITY) -> None:
    """Write a picture as JPEG, atomically; raises ArtifactError when that is impossible."""
    height, width = image_bgr.shape[:2]
    if max(height, width) > JPEG_LONGEST_PX:
        raise ArtifactError(
            f"Cannot write {path}: it would have {width}×{height} pixels, and a JPEG has at most {JPEG_LONGEST_PX} on "
            "a side."
        )
    _, encoded = cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    write_bytes(path, encoded.tobytes())


def _blend_mask(image: np.ndarray, instance: Instance) -> None:
    if instance.mask is None:
        return
    mask = coco_mask.decode(instance.mask).astype(bool)  # [H,W]
    if instance.is_crowd:
        rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
        mask &= (rows + columns) // STRIPE_PX % 2 == 0
    colour = instance.colour
    blended = (1 - MASK_OPACITY) * image[mask] + MASK_OPACITY * np.array(colour, np.float32)
    image[mask] = np.rint(blended).astype(np.uint8)
    if not instance.is_crowd:
        _outline(image, mask.astype(np.uint8), colour)


def _outline(image: np.ndarray, mask: np.ndarray, colour: Colour) -> None:
    """Draw the border of a mask, inside it: the colour beside black, so that it shows on any ground."""
    x, y, width, height = cv2.boundingRect(mask)
    if not width:  # nothing of it is in the image
        return
    place = (slice(y, y + height), slice(x, x + width))
    size = 2 * _thickness(image) + 1
    inner = mask[place]
    for line in (colour, BLACK):
        outer, inner = (
            inner,
            cv2.erode(inner, np.ones((size, size), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0),
        )
        image[place][(outer > inner)] = line


def _draw_box(image: np.ndarray, instance: Instance) -> None:
    left, top, right, bottom = (round(value) for value in instance.box_xyxy_px)
    # The far corner is exclusive: the last pixel of the box is one before it.
    corners = (left, top), (max(left, right - 1), max(top, bottom - 1))
    cv2.rectangle(image, *corners, instance.colour, _thickness(image))


def _draw_label(image: np.ndarray, label: np.ndarray, place: tuple[int, int], colour: Colour) -> None:
    """Draw a label's ink [h,w] in black on its colour, with the upper left corner at `place`."""
    x, y = place
    part = image[y : y + label.shape[0], x : x + label.shape[1]]
    ink = label[: part.shape[0], : part.shape[1], None].astype(np.float32) / 255
    part[:] = np.rint((1 - ink) * np.array(colour, np.float32)).astype(np.uint8)


def _thickness(image: np.ndarray) -> int:
    return max(1, min(image.shape[:2]) // 300)


def _font_scale(side_px: int) -> float:
    return max(0.35, side_px / 1000)  # of OpenCV's font, whose capitals are 22 pixels high at 1


def _bar_height(height: int) -> int:
    return round(50 * _font_scale(height))
