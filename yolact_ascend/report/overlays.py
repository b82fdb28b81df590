"""The pictures of a run: for its first images, what was found beside what is annotated."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2

from yolact_ascend.detection.draw import (
    draw_instances,
    from_annotations,
    from_results,
    side_by_side,
    write_jpeg,
)
from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.files import distinct_stems, read_json
from yolact_ascend.folders import Ledger
from yolact_ascend.images.coco import CocoDataset, CocoImage
from yolact_ascend.images.decode import decode_image
from yolact_ascend.models.config import ModelConfig

OVERLAY_IMAGES = 8
OVERLAY_SCORE = 0.3  # detections below it are not drawn; the scores of a run count them


def write_overlays(
    folder: Path,
    ledger: Ledger,
    images: Sequence[CocoImage],
    dataset: CocoDataset,
    config: ModelConfig,
    files: Mapping[str, Path],
) -> list[Path]:
    """Draw the first images with annotations and detections side by side; return the files, `<stem>.jpg` in `folder`.

    `files` are those of `postprocess`, by task. What an earlier run has drawn there, by the `ledger`, is removed.
    Other pictures stay, and a name that is taken gets a number.
    """
    remove_overlays(folder, ledger)
    chosen = images[:OVERLAY_IMAGES]
    names = dict(zip(config.category_ids, config.class_names))
    boxes = _drawn_by_image(files[BOX], chosen)
    masks = _drawn_by_image(files[MASK], chosen) if MASK in files else None
    annotations = _by_image(dataset.annotations["annotations"], chosen)
    others = [path.stem for path in folder.glob("*.jpg")]
    pictures = [folder / f"{stem}.jpg" for stem in distinct_stems([image.path for image in chosen], others)]
    ledger.claim(pictures, "out=DIR")
    for image, picture in zip(chosen, pictures):
        height, width, image_id = image.height, image.width, image.image_id
        # Boxes and masks are in the annotation file's frame, whatever the image decodes to.
        pixels = decode_image(image.path, image.is_turned)
        if pixels.shape[:2] != (height, width):
            pixels = cv2.resize(pixels, (width, height))
        truth = draw_instances(pixels, from_annotations(annotations[image_id], height, width, names))
        found = draw_instances(pixels, from_results(boxes[image_id], None if masks is None else masks[image_id], names))
        write_jpeg(picture, side_by_side([("ground truth", truth), (f"detections, score >= {OVERLAY_SCORE}", found)]))
    return pictures


def remove_overlays(folder: Path, ledger: Ledger) -> None:
    """Remove the pictures of an earlier run, if there are any, and their folder when nothing else is in it."""
    ledger.remove(ledger.within(folder))
    with contextlib.suppress(OSError):
        folder.rmdir()


def _drawn_by_image(path: Path, images: Sequence[CocoImage]) -> dict[int, list[dict[str, Any]]]:
    entries = read_json(path, "detections of postprocess")
    return _by_image([entry for entry in entries if entry["score"] >= OVERLAY_SCORE], images)


def _by_image(entries: Sequence[dict[str, Any]], images: Sequence[CocoImage]) -> dict[int, list[dict[str, Any]]]:
    chosen: dict[int, list[dict[str, Any]]] = {image.image_id: [] for image in images}
    for entry in entries:
        if entry["image_id"] in chosen:
            chosen[entry["image_id"]].append(entry)
    return chosen
