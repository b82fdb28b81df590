"""The pictures of a run: for its first and its worst images, what was found beside what is annotated."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from yolact_ascend.detection.draw import (
    draw_instances,
    from_annotations,
    from_results,
    side_by_side,
    write_jpeg,
)
from yolact_ascend.files import distinct_stems
from yolact_ascend.folders import Ledger
from yolact_ascend.images.decode import decode_image
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.report.findings import SHOWN_SCORE, Found

OVERLAY_IMAGES = 8


def write_overlays(
    folder: Path, ledger: Ledger, images: Sequence[Found], config: ModelConfig, worst: Sequence[Found] = ()
) -> dict[int, Path]:
    """Draw the first images, and the worst, with annotations and detections side by side; return the files by image_id.

    They are `<stem>.jpg` in `folder`, the first ones first. What an earlier run has drawn there, by the `ledger`, is
    removed. Other pictures stay, and a name that is taken gets a number.
    """
    remove_overlays(folder, ledger)
    chosen = list({found.image.image_id: found for found in (*images[:OVERLAY_IMAGES], *worst)}.values())
    names = dict(zip(config.category_ids, config.class_names))
    others = [path.stem for path in folder.glob("*.jpg")]
    pictures = [folder / f"{stem}.jpg" for stem in distinct_stems([found.image.path for found in chosen], others)]
    ledger.claim(pictures, "out=DIR")
    for found, picture in zip(chosen, pictures):
        write_jpeg(picture, _draw(found, names))
    return {found.image.image_id: picture for found, picture in zip(chosen, pictures)}


def _draw(found: Found, names: Mapping[int, str]) -> np.ndarray:
    height, width = found.image.height, found.image.width
    # Boxes and masks are in the annotation file's frame, whatever the image decodes to.
    pixels = decode_image(found.image.path, found.image.is_turned)
    if pixels.shape[:2] != (height, width):
        pixels = cv2.resize(pixels, (width, height))
    truth = draw_instances(pixels, from_annotations(found.annotations, height, width, names))
    drawn = draw_instances(pixels, from_results(found.boxes, found.masks, names))
    return side_by_side([("ground truth", truth), (f"detections, score >= {SHOWN_SCORE}", drawn)])


def remove_overlays(folder: Path, ledger: Ledger) -> None:
    """Remove the pictures of an earlier run, if there are any, and their folder when nothing else is in it."""
    ledger.remove(ledger.within(folder))
    with contextlib.suppress(OSError):
        folder.rmdir()
