"""What of a data set can be learned from: found before the first step, all at once."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from yolact_ascend.detection.segmentation import encode_annotation
from yolact_ascend.errors import DatasetError
from yolact_ascend.images.coco import CocoDataset, list_some
from yolact_ascend.images.transforms import resized_size
from yolact_ascend.models.config import ModelConfig

LEAST_MASK_PX = 4  # area at the network's size; of smaller masks nothing is left on the prototypes' grid


def require_learnable(dataset: CocoDataset, config: ModelConfig, skip_bad: bool = False) -> CocoDataset:
    """Return the data set without the pictures that cannot be learned from.

    `dataset` comes from `images.pictures.verify`. Raises DatasetError that names bad pictures, unless they are to be
    skipped, and for masks of which nothing is left at the network's size.
    """
    bad = find_bad(dataset)
    if bad and not skip_bad:
        raise DatasetError(
            f"{len(bad)} of {len(dataset.images)} training images are bad: {_describe(bad)}. Replace these files or "
            "fix the annotation file, or leave them out with --skip_bad."
        )
    kept = tuple(image for image in dataset.images if image.path not in bad)
    if not kept:
        raise DatasetError(f"No training image is left: all {len(bad)} are bad: {_describe(bad)}.")
    annotated = sum(image.path not in bad for image in dataset.images[: dataset.annotated_count])
    skipped = (f"{len(bad)} of {len(dataset.images)} training images are skipped: {_describe(bad)}.",) if bad else ()
    dataset = dataclasses.replace(
        dataset, images=kept, annotated_count=annotated, warnings=(*dataset.warnings, *skipped)
    )
    _require_visible_masks(dataset, config)
    return dataset


def find_bad(dataset: CocoDataset) -> dict[Path, str]:
    """Return why pictures cannot be learned from, by their files."""
    pictures = dataset.pictures
    assert pictures is not None, "see images.pictures.verify"
    found = dict.fromkeys(pictures.cut, "cut short")
    for image, (width, height) in pictures.other_size:
        found[image.path] = f"{width}×{height} pixels, annotated as {image.width}×{image.height}"
    return {
        **found,
        **dict.fromkeys(pictures.unreadable, "no picture"),
        **dict.fromkeys(pictures.too_large, "too many pixels"),
    }


def _require_visible_masks(dataset: CocoDataset, config: ModelConfig) -> None:
    """Raise DatasetError when over half of the masks are smaller than LEAST_MASK_PX at the network's size."""
    sizes = {image.image_id: (image.height, image.width) for image in dataset.images}
    share_of = {
        image_id: math.prod(resized_size(*size, config.preprocessing)) / math.prod(size)
        for image_id, size in sizes.items()
    }
    areas_px = [
        _area(annotation, *sizes[annotation["image_id"]]) * share_of[annotation["image_id"]]
        for annotation in dataset.annotations["annotations"]
        if annotation["image_id"] in share_of and not annotation["iscrowd"]
    ]
    small = sum(area < LEAST_MASK_PX for area in areas_px)
    if small > len(areas_px) / 2:
        raise DatasetError(
            f"{dataset.annotation_file} has hardly anything to learn from: {small} of {len(areas_px)} masks have less "
            f"than {LEAST_MASK_PX} pixels when the images are resized to {config.preprocessing.width_px}×"
            f"{config.preprocessing.height_px}. Are their coordinates in pixels? Cut larger objects, or tiles of the "
            "images."
        )


def _area(annotation: dict[str, Any], height: int, width: int) -> float:
    """Return a mask's area in pixels; some converters write 0 for all of them."""
    if annotation["area"] or annotation["segmentation"] is None:
        return annotation["area"]
    return float(coco_mask.area(encode_annotation(annotation, height, width)))


def _describe(bad: dict[Path, str]) -> str:
    return list_some([f"{path.name} ({reason})" for path, reason in bad.items()])
